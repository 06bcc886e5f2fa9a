"""Print the log of a run: ``python -m xray_hpc.logs RUN [-f]``."""

from __future__ import annotations

import argparse
import sys
import time

from xray_hpc import command_line
from xray_hpc.errors import ConfigError
from xray_hpc.monitoring.discovery import find_run
from xray_hpc.monitoring.log_files import GrowingFile, last_lines, slurm_output, tail
from xray_hpc.monitoring.run_state import State, read_evidence, state_of
from xray_hpc.printable import printable
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import storage_errors
from xray_hpc.records.paths import RunPaths
from xray_hpc.slurm.cached_queue import NO_CLUSTER, CachedQueue

POLL_SECONDS = 0.5
STATE_SECONDS = 2.0
QUEUE_SECONDS = 5.0
TAIL_LINES = 30


def main() -> None:
    """Print the log of a run."""
    arguments = _parser().parse_intermixed_args()
    if arguments.lines is not None and arguments.lines < 0:
        raise ConfigError(f"-n is {arguments.lines}; it must be 0 or more")
    paths = find_run(arguments.run, arguments.results)
    with storage_errors(paths.sweep.folder):
        _print_log(paths, arguments)


def _print_log(paths: RunPaths, arguments: argparse.Namespace) -> None:
    log = GrowingFile(paths.log)
    text = log.read_new()
    _write(text if arguments.lines is None else last_lines(text, arguments.lines))
    if arguments.follow:
        text += _follow(paths, log)
    if not text.strip():
        _explain_empty_log(paths)


def _parser() -> argparse.ArgumentParser:
    parser = command_line.make_parser(
        "logs",
        "Print a run's log: the output of its training, over all attempts.",
        examples="""
            python -m xray_hpc.logs ft-1a2b                  the run whose name starts with ft-1a2b
            python -m xray_hpc.logs lr-depth/ft-1a -n 20     a run of one sweep; its last 20 lines
            python -m xray_hpc.logs ft-1a2b3c4d -f           follow the log until the run ends
        """,
    )
    parser.add_argument("run", metavar="RUN", help=command_line.RUN_HELP)
    parser.add_argument(
        "-f", "--follow", action="store_true", help="follow the log until the run ends, or Ctrl-C"
    )
    parser.add_argument(
        "-n", "--lines", metavar="LINES", type=int, help="print only the last LINES"
    )
    command_line.add_results_option(parser)
    return parser


def _follow(paths: RunPaths, log: GrowingFile) -> bytes:
    """Print what is added to the log until the run has ended, and return it."""
    monitor, added, checked = _RunMonitor(paths), b"", -STATE_SECONDS
    while True:
        state = None
        if time.monotonic() - checked >= STATE_SECONDS:
            checked, state = time.monotonic(), monitor.final_state()
        new = log.read_new()  # after reading the state, so that the last lines are not lost
        _write(new)
        added += new
        if state is not None:
            print(printable(f"--- {paths.name}: {state.value}"), file=sys.stderr)
            return added
        time.sleep(POLL_SECONDS)


class _RunMonitor:
    """Tells whether a run has ended, and limits how often it queries Slurm."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self._queue = CachedQueue()
        self._refreshed = -QUEUE_SECONDS

    def final_state(self) -> State | None:
        """Return the state of a run that has ended; ``None`` while it may be running."""
        paths = self._paths
        entries = ledger.read(paths.sweep)
        job, cancelled = entries.jobs().get(paths.name), entries.cancelled.get(paths.name)
        evidence = read_evidence(paths, cancelled=cancelled)
        if state_of(evidence) is State.FINISHED:
            return State.FINISHED
        if evidence.live:
            return None
        if job is not None or (evidence.record and evidence.record.job_id):
            if time.monotonic() - self._refreshed < QUEUE_SECONDS:
                return None
            self._refreshed = time.monotonic()
            self._queue.refresh(entries.users())
            evidence = read_evidence(paths, job, self._queue.jobs, cancelled)
            if evidence.live or self._queue.problem not in (None, NO_CLUSTER):
                return None
        return state_of(evidence)


def _explain_empty_log(paths: RunPaths) -> None:
    """Print the end of the output of the run's Slurm job, or a note that there is none."""
    output = slurm_output(paths)
    if output is None:
        print(printable(f"{paths.name} has no output yet"), file=sys.stderr)
        return
    note = f"{paths.name} has an empty log; its Slurm job: {output}"
    print(printable(note), file=sys.stderr, flush=True)
    _write(tail(output, TAIL_LINES))


def _write(text: bytes) -> None:
    """Write a part of a log: to a terminal as text that it can show, else as it is."""
    if sys.stdout.isatty():
        lines = text.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
        sys.stdout.write(lines.replace("\r", "\n"))  # a progress bar shows each of its states
    else:
        sys.stdout.buffer.write(text)
    sys.stdout.flush()


def entry() -> None:
    """Run the installed command ``xray-logs``."""
    command_line.run(main)


if __name__ == "__main__":
    entry()
