"""Show the status of sweeps: ``python -m xray_hpc.status [SWEEP...] [--watch]``.

Reads the files of the runs, and queries Slurm's queue at most once; changes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NoReturn

from xray_hpc import command_line
from xray_hpc.errors import ConfigError
from xray_hpc.monitoring.discovery import find_sweep, find_sweeps
from xray_hpc.monitoring.status_view import MAX_ROWS, sweep_lines, sweep_list_lines
from xray_hpc.monitoring.sweep_status import RunStatus, SweepMonitor, SweepStatus
from xray_hpc.monitoring.terminal_table import Screen
from xray_hpc.printable import printable, unescaped
from xray_hpc.records.paths import require_folder

SECONDS = 5.0
OTHER_LINES = 10  # lines of a sweep that are not runs: summary, table header, advice
# Terminal control sequences: hide the cursor and disable line wrapping, and the reverse.
PREPARE, RESTORE = "\x1b[?25l\x1b[?7l", "\x1b[?25h\x1b[?7h"
UP, CLEAR_LINE, CLEAR_BELOW = "\x1b[{}F", "\x1b[K", "\x1b[J"


def main() -> None:
    """Print the status, once or repeatedly."""
    arguments = _parser().parse_intermixed_args()
    if arguments.json and arguments.watch is not None:
        raise ConfigError("--json prints once; leave out --watch")
    view = _StatusView(arguments)
    if arguments.json:
        for sweep in view.read():
            for run in sweep.runs:
                # DEL is the one control character that JSON does not escape.
                print(json.dumps(dataclasses.asdict(run)).replace("\x7f", r"\u007f"))
    elif arguments.watch is None:
        lines = view.lines(view.read(), Screen.of_stdout(), MAX_ROWS)
        print("\n".join(lines), file=unescaped(sys.stdout))
    elif sys.stdout.isatty():
        _redraw(view, arguments.watch)
    else:
        _print_changes(view, arguments.watch)


class _StatusView:
    """The status that the arguments ask for."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.all = arguments.all
        self.results = arguments.results
        self.named = [find_sweep(text, arguments.results) for text in arguments.sweep]
        self.monitor = SweepMonitor()

    def read(self) -> list[SweepStatus]:
        """Return the status of the sweeps; raise ``StorageError`` if a named one is gone."""
        status = self.monitor.read_status(self.named or find_sweeps(self.results))
        for sweep in self.named:
            require_folder(sweep)
        return status

    def lines(self, sweeps: Sequence[SweepStatus], screen: Screen, rows: int) -> Iterator[str]:
        """Yield the lines to print, with at most ``rows`` runs per sweep unless ``--all``.

        They are printable but for the colours.
        """
        if not sweeps:
            yield printable(f"no sweeps in {self.results} yet")
        elif not self.named:
            yield from sweep_list_lines(sweeps, screen)
        else:
            for number, sweep in enumerate(sweeps):
                if number:
                    yield ""
                yield from sweep_lines(sweep, screen, None if self.all else rows)
        if self.monitor.queue.problem:
            yield screen.paint(screen.cut(printable(self.monitor.queue.problem)), "yellow")


def _redraw(view: _StatusView, seconds: float) -> NoReturn:
    """Redraw the status in place until Ctrl-C, and leave the last one on the terminal."""
    drawn, terminal = 0, unescaped(sys.stdout)
    try:
        while True:
            sweeps, screen = view.read(), Screen.of_stdout()
            height = screen.height or 24
            rows = max(height // max(len(sweeps), 1) - OTHER_LINES, 3)
            lines = list(view.lines(sweeps, screen, rows))[: height - 1]
            text = "".join(f"{line}{CLEAR_LINE}\n" for line in lines)
            back = UP.format(drawn) if drawn else ""
            print(f"{PREPARE}{back}{text}{CLEAR_BELOW}", end="", file=terminal, flush=True)
            drawn = len(lines)
            time.sleep(seconds)
    finally:
        print(RESTORE, end="", file=terminal, flush=True)


def _print_changes(view: _StatusView, seconds: float) -> NoReturn:
    """Print the status, with the time, whenever it has changed."""
    previous: object = None
    while True:
        sweeps = view.read()
        runs = [_without_time(run) for sweep in sweeps for run in sweep.runs]
        current = (runs, view.monitor.queue.problem)
        if current != previous:
            previous = current
            lines = view.lines(sweeps, Screen.of_stdout(), MAX_ROWS)
            print(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')}", *lines, "", sep="\n", flush=True)
        time.sleep(seconds)


def _without_time(run: RunStatus) -> RunStatus:
    """Return the status without the fields that change merely with time."""
    return dataclasses.replace(run, seconds_left=None, limited=False)


def _parser() -> argparse.ArgumentParser:
    parser = command_line.make_parser(
        "status",
        "Show the state of every run of a sweep; without SWEEP, one line per sweep.",
        examples="""
            python -m xray_hpc.status                        all sweeps in results/
            python -m xray_hpc.status lr-depth --watch       one sweep, redrawn until Ctrl-C
            python -m xray_hpc.status lr-depth --json | jq -r 'select(.state == "failed") | .run'
        """,
        notes="Reads the run folders, and queries Slurm once if runs were submitted to it.",
    )
    parser.add_argument("sweep", metavar="SWEEP", nargs="*", help=command_line.SWEEP_HELP)
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        type=_seconds,
        nargs="?",
        const=SECONDS,
        help=f"update every SECONDS (default: {SECONDS:g}) until Ctrl-C",
    )
    parser.add_argument(
        "--all", action="store_true", help=f"list every run, even if there are more than {MAX_ROWS}"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per run")
    command_line.add_results_option(parser)
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise ConfigError(f"--watch is '{text}'; put a sweep before it: {text} --watch") from None
    if not 0.1 <= seconds <= 86400:
        raise ConfigError(f"--watch is {text}; it must be between 0.1 and 86400 seconds")
    return seconds


def entry() -> None:
    """Run the installed command ``xray-status``."""
    command_line.run(main)


if __name__ == "__main__":
    entry()
