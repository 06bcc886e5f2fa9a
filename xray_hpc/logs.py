"""Print what a run printed: ``python -m xray_hpc.logs RUN [-f]``."""

from __future__ import annotations

import argparse
import sys
import time

from xray_hpc import cli
from xray_hpc.errors import ConfigError
from xray_hpc.monitoring.discovery import find_run
from xray_hpc.monitoring.log_files import GrowingFile, last_lines, slurm_output, tail
from xray_hpc.monitoring.run_state import State, gather_evidence, state_of
from xray_hpc.records import ledger
from xray_hpc.records.paths import RunPaths
from xray_hpc.slurm.cached_queue import NO_CLUSTER, CachedQueue

LOOK_SECONDS = 0.5
STATE_SECONDS = 2.0
QUEUE_SECONDS = 5.0
TAIL_LINES = 30


def main() -> None:
    """The command."""
    given = _parser().parse_args()
    if given.lines is not None and given.lines < 0:
        raise ConfigError(f"-n is {given.lines}; it must be 0 or more lines")
    paths = find_run(given.run, given.results)
    log = GrowingFile(paths.log)
    text = log.read_new()
    _write(text if given.lines is None else last_lines(text, given.lines))
    if given.follow:
        text += _follow(paths, log)
    if not text.strip():
        _explain(paths)


def _parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "logs",
        "Print a run's log: the output of its training, over all attempts.",
        examples="""
            python -m xray_hpc.logs ft-1a2b                  the run whose name starts with ft-1a2b
            python -m xray_hpc.logs lr-depth/ft-1a -n 20     a run of one sweep; its last 20 lines
            python -m xray_hpc.logs ft-1a2b3c4d -f           follow the log until the run ends
        """,
    )
    parser.add_argument(
        "run", metavar="RUN", help="its folder, or its name or the start of it, or SWEEP/RUN"
    )
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on until the run has ended, or Ctrl-C"
    )
    parser.add_argument("-n", "--lines", metavar="LINES", type=int, help="the last LINES only")
    cli.add_results_option(parser)
    return parser


def _follow(paths: RunPaths, log: GrowingFile) -> bytes:
    """Print what is added to the log until the run has ended; give that."""
    watch, added, looked = _Watch(paths), b"", -STATE_SECONDS
    while True:
        over = None
        if time.monotonic() - looked >= STATE_SECONDS:
            looked, over = time.monotonic(), watch.over()
        new = log.read_new()  # after the question, so that nothing of its last words is lost
        _write(new)
        added += new
        if over is not None:
            print(f"--- {paths.name}: {over.value}", file=sys.stderr)
            return added
        time.sleep(LOOK_SECONDS)


class _Watch:
    """Whether a run goes on, without asking Slurm more often than is polite."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self._queue = CachedQueue()
        self._asked = -QUEUE_SECONDS

    def over(self) -> State | None:
        """How the run has ended; ``None`` while it goes on or may."""
        paths, sweep = self._paths, self._paths.sweep
        told = ledger.read(sweep)
        job, when = told.jobs().get(paths.name), told.cancelled.get(paths.name)
        seen = gather_evidence(paths, cancelled=when)
        finished = state_of(seen) is State.FINISHED
        submitted = (job and job.id) or (seen.record.job_id if seen.record else None)
        if seen.live and not finished:
            return None
        if submitted is not None and not finished:
            if time.monotonic() - self._asked < QUEUE_SECONDS:
                return None
            self._asked = time.monotonic()
            self._queue.refresh(told.users())
            seen = gather_evidence(paths, job, self._queue.jobs, when)
            if seen.live or self._queue.problem not in (None, NO_CLUSTER):
                return None
        return state_of(seen)


def _explain(paths: RunPaths) -> None:
    """Say why a log is empty, and show what the run's Slurm job printed instead."""
    other = slurm_output(paths)
    if other is None:
        print(f"{paths.name} has printed nothing yet", file=sys.stderr)
        return
    print(f"{paths.name} has printed nothing; its Slurm job: {other}", file=sys.stderr, flush=True)
    _write(tail(other, TAIL_LINES))


def _write(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.flush()


def entry() -> None:
    """The installed command ``xray-logs``."""
    cli.run(main)


if __name__ == "__main__":
    entry()
