"""Cancel a sweep's runs: ``python -m xray_hpc.cancel SWEEP [--runs PATTERN]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from xray_hpc import cli
from xray_hpc.errors import ConfigError
from xray_hpc.monitoring.cancel_runs import CancelPlan, compact_job_ids, plan_cancel
from xray_hpc.monitoring.discovery import find_sweep
from xray_hpc.monitoring.status_view import format_counts


def main() -> int:
    """The command: 0, or 1 where the answer was no."""
    given = _parser().parse_args()
    cancelling = plan_cancel(find_sweep(given.sweep, given.results), given.runs)
    name = cancelling.sweep.name
    for line in _notes(cancelling):
        print(line)
    if not cancelling.nothing:
        if not given.yes and not _agreed(f"cancel {_what(cancelling)} of {name}"):
            print("nothing was cancelled")
            return 1
        cancelling = cancelling.execute()
    over = format_counts(cancelling.over.values())
    if cancelling.nothing:
        print(f"nothing to cancel in {name}" + (f": {over}" if over else ""))
        return 0
    print(f"cancelled {_what(cancelling)} of {name}")
    if over:
        print(f"ended before: {over}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "cancel",
        "Cancel the running and pending runs of a sweep: their Slurm jobs, and those that train "
        "on this machine without Slurm.",
        examples="""
            python -m xray_hpc.cancel lr-depth                       all runs, after a prompt
            python -m xray_hpc.cancel lr-depth --runs 'vgg-*'        runs selected by name
            python -m xray_hpc.cancel lr-depth --runs 'model=vgg'    runs selected by an override
            python -m xray_hpc.launch --resume results/lr-depth      run them again later
        """,
    )
    parser.add_argument("sweep", metavar="SWEEP", help="a sweep's name or folder")
    parser.add_argument(
        "--runs",
        metavar="PATTERN",
        help="only runs whose name, or one of whose overrides, fits this glob",
    )
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask first")
    cli.add_results_option(parser)
    return parser


def _what(cancelling: CancelPlan) -> str:
    """``2 running, 9 pending runs (jobs 17_[3-13] 16 18)``."""
    runs = cancelling.runs.values()
    words = f"{format_counts(runs)} run{'' if len(runs) == 1 else 's'}" if runs else "the jobs"
    jobs = [*cancelling.jobs, *cancelling.beside]
    ids = [f"job{'' if len(jobs) == 1 else 's'} {' '.join(compact_job_ids(jobs))}"] if jobs else []
    ids += [f"process {owner.pid}" for owner in cancelling.processes.values()]
    return f"{words} ({', '.join(ids)})" if ids else words


def _notes(cancelling: CancelPlan) -> Iterator[str]:
    for name, owner in cancelling.elsewhere.items():
        yield f"note: {name} is trained by {owner}, outside of Slurm; end it there"


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(f"not asked whether to {question}, for stdin is no terminal; add --yes")
    try:
        return input(f"{question}? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        print()
        return False


def entry() -> None:
    """The installed command ``xray-cancel``."""
    cli.run(main)


if __name__ == "__main__":
    entry()
