"""Show how sweeps stand: ``python -m xray_hpc.status [SWEEP...] [--watch]``.

From the files of the runs and at most one question to Slurm's queue; it changes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NoReturn

from xray_hpc import cli
from xray_hpc.errors import ConfigError
from xray_hpc.monitoring.discovery import find_sweep, find_sweeps
from xray_hpc.monitoring.status_view import ROWS, sweep_lines, sweep_list_lines
from xray_hpc.monitoring.sweep_status import RunStatus, SweepMonitor, SweepStatus
from xray_hpc.monitoring.terminal_table import Screen

SECONDS = 5.0
BESIDE = 10  # lines of a sweep that are no runs: its sum, the table's head, advice and the like
# What a terminal understands: no cursor and no line wrapped, and back.
STEADY, AS_BEFORE = "\x1b[?25l\x1b[?7l", "\x1b[?25h\x1b[?7h"
UP, CLEAR_LINE, CLEAR_BELOW = "\x1b[{}F", "\x1b[K", "\x1b[J"


def main() -> None:
    """The command."""
    given = _parser().parse_args()
    if given.json and given.watch is not None:
        raise ConfigError("--json is printed once; leave out --watch")
    status = _Status(given)
    if given.json:
        for watched in status.look():
            for run in watched.runs:
                print(json.dumps(dataclasses.asdict(run)))
    elif given.watch is None:
        print("\n".join(status.lines(status.look(), Screen.of_stdout(), ROWS)))
    elif sys.stdout.isatty():
        _redraw(status, given.watch)
    else:
        _repeat(status, given.watch)


class _Status:
    """What was asked for, looked at as often as is wanted."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.all = given.all
        self.results = given.results
        self.named = [find_sweep(text, given.results) for text in given.sweep]
        self.monitor = SweepMonitor()

    def look(self) -> list[SweepStatus]:
        return self.monitor.read_status(self.named or find_sweeps(self.results))

    def lines(self, seen: Sequence[SweepStatus], screen: Screen, rows: int) -> Iterator[str]:
        """What is shown; of a sweep ``rows`` runs at most, unless all are asked for."""
        if not seen:
            yield f"no sweeps in {self.results} yet"
        elif not self.named:
            yield from sweep_list_lines(seen, screen)
        else:
            for number, watched in enumerate(seen):
                if number:
                    yield ""
                yield from sweep_lines(watched, screen, None if self.all else rows)
        if self.monitor.queue.problem:
            yield screen.paint(screen.cut(self.monitor.queue.problem), "yellow")


def _redraw(status: _Status, seconds: float) -> NoReturn:
    """Draw over what was drawn before; the last of it stays."""
    drawn = 0
    try:
        while True:
            seen, screen = status.look(), Screen.of_stdout()
            height = screen.height or 24
            lines = list(status.lines(seen, screen, max(height // max(len(seen), 1) - BESIDE, 3)))
            del lines[height - 1 :]
            text = "".join(f"{line}{CLEAR_LINE}\n" for line in lines)
            back = UP.format(drawn) if drawn else ""
            print(f"{STEADY}{back}{text}{CLEAR_BELOW}", end="", flush=True)
            drawn = len(lines)
            time.sleep(seconds)
    finally:
        print(AS_BEFORE, end="", flush=True)


def _repeat(status: _Status, seconds: float) -> NoReturn:
    """Print anew whenever something has changed, for a log."""
    before: object = None
    while True:
        seen = status.look()
        now = ([_lasting(run) for one in seen for run in one.runs], status.monitor.queue.problem)
        if now != before:
            before = now
            lines = status.lines(seen, Screen.of_stdout(), ROWS)
            print(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')}", *lines, "", sep="\n", flush=True)
        time.sleep(seconds)


def _lasting(run: RunStatus) -> RunStatus:
    """What of it does not change by time alone."""
    return dataclasses.replace(run, seconds_left=None, limited=False)


def _parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "status",
        "Show the state of every run of a sweep; without SWEEP, one line per sweep.",
        examples="""
            python -m xray_hpc.status                        all sweeps in results/
            python -m xray_hpc.status lr-depth --watch       one sweep, redrawn until Ctrl-C
            python -m xray_hpc.status lr-depth --json | jq -r 'select(.state == "failed") | .run'
        """,
        notes="Reads the run folders, and queries Slurm once if runs were submitted to it.",
    )
    parser.add_argument("sweep", metavar="SWEEP", nargs="*", help="a sweep's name or folder")
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        type=_seconds,
        nargs="?",
        const=SECONDS,
        help=f"look again every SECONDS ({SECONDS:g})",
    )
    parser.add_argument(
        "--all", action="store_true", help=f"list every run, also where there are more than {ROWS}"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object for each run")
    cli.add_results_option(parser)
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise ConfigError(
            f"--watch takes seconds, not '{text}'; put a sweep before it: {text} --watch"
        ) from None
    if not 0.1 <= seconds <= 86400:
        raise ConfigError(f"--watch is {text}; it must be 0.1 to 86400 seconds")
    return seconds


def entry() -> None:
    """The installed command ``xray-status``."""
    cli.run(main)


if __name__ == "__main__":
    entry()
