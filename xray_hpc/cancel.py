"""Cancel the runs of a sweep: ``python -m xray_hpc.cancel SWEEP [--runs PATTERN]``."""

from __future__ import annotations

import argparse
import sys

from xray_hpc import command_line
from xray_hpc.errors import ConfigError
from xray_hpc.monitoring.cancel_runs import CancelPlan, plan_cancel
from xray_hpc.monitoring.discovery import find_sweep
from xray_hpc.monitoring.status_view import format_counts
from xray_hpc.printable import printable
from xray_hpc.records.atomic_files import storage_errors
from xray_hpc.slurm.units import compact_job_ids


def main() -> int:
    """Cancel the runs; return 1 if the user declined."""
    arguments = _parser().parse_intermixed_args()
    sweep = find_sweep(arguments.sweep, arguments.results)
    with storage_errors(sweep.folder):
        return _cancel(plan_cancel(sweep, arguments.runs), ask=not arguments.yes)


def _cancel(plan: CancelPlan, *, ask: bool) -> int:
    name = printable(plan.sweep.name)
    for run, owner in plan.remote.items():
        note = f"note: {run} is running without Slurm as {owner}; end it there"
        print(printable(note))
    if not plan.empty:
        if ask and not _confirm(f"cancel {_describe(plan)} of {name}"):
            print("nothing was cancelled")
            return 1
        plan = plan.execute()
    ended = format_counts(plan.ended.values())
    if plan.empty:
        print(f"nothing to cancel in {name}" + (f": {ended}" if ended else ""))
        return 0
    print(f"cancelled {_describe(plan)} of {name}")
    if ended:
        print(f"ended before: {ended}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_line.make_parser(
        "cancel",
        "Cancel the running and pending runs of a sweep: their Slurm jobs, and those that train "
        "on this machine without Slurm.",
        examples="""
            python -m xray_hpc.cancel lr-depth                       all runs, after a prompt
            python -m xray_hpc.cancel lr-depth --runs 'vgg-*'        runs selected by name
            python -m xray_hpc.cancel lr-depth --runs 'model=vgg'    runs selected by an override
            python -m xray_hpc.cancel lr-depth --runs 'model=vgg and seed>2'
            python -m xray_hpc.launch --resume results/lr-depth      run them again later
        """,
    )
    parser.add_argument("sweep", metavar="SWEEP", help=command_line.SWEEP_HELP)
    parser.add_argument(
        "--runs",
        metavar="PATTERN",
        help="only runs whose name, or one of whose overrides, matches this glob, or whose "
        "overrides fulfill conditions joined by 'and' (operators: = != < > <= >=)",
    )
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask for confirmation")
    command_line.add_results_option(parser)
    return parser


def _describe(plan: CancelPlan) -> str:
    """Return ``2 running, 9 pending runs (jobs 17_[3-13] 16 18)``."""
    runs = plan.runs.values()
    words = f"{format_counts(runs)} run{'' if len(runs) == 1 else 's'}" if runs else "the jobs"
    jobs = [*plan.jobs, *plan.other_jobs]
    ids = [f"job{'' if len(jobs) == 1 else 's'} {' '.join(compact_job_ids(jobs))}"] if jobs else []
    ids += [f"process {owner.pid}" for owner in plan.processes.values()]
    return f"{words} ({', '.join(ids)})" if ids else words


def _confirm(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(f"cannot ask whether to {question}: stdin is not a terminal; pass --yes")
    try:
        return input(f"{printable(question)}? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        print()
        return False


def entry() -> None:
    """Run the installed command ``xray-cancel``."""
    command_line.run(main)


if __name__ == "__main__":
    entry()
