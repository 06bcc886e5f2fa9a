"""Wait for a sweep on Slurm until all of its runs have ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

from xray_hpc.errors import NoClusterError, SlurmUnavailableError
from xray_hpc.launching.progress_view import ProgressView
from xray_hpc.monitoring import cancel_runs
from xray_hpc.monitoring.run_state import State, read_runs, state_of
from xray_hpc.records import ledger
from xray_hpc.records.ledger import Ledger
from xray_hpc.records.paths import SweepPaths, display_path, require_folder
from xray_hpc.slurm import client as slurm
from xray_hpc.slurm.client import QueuedJob

POLL_SECONDS = 5.0
LIVE = (State.PENDING, State.RUNNING)


def wait_for_sweep(sweep: SweepPaths, runs: Sequence[str]) -> int:
    """Show the progress of the runs until all have ended and the sweep has no job in the queue.

    On Ctrl-C, ask whether to cancel the jobs. Return 0 if all runs finished, else 1. Raise
    ``StorageError`` if the sweep's folder is renamed or removed.
    """
    try:
        states = _wait(sweep, runs)
    except KeyboardInterrupt:
        _offer_to_cancel(sweep)
        raise
    finished = sum(state is State.FINISHED for state in states.values())
    print(f"{finished} of {len(runs)} runs finished: {display_path(sweep.report / 'report.md')}")
    return int(finished < len(runs))


def _wait(sweep: SweepPaths, runs: Sequence[str]) -> Mapping[str, State]:
    """Poll until all runs have ended; return their states."""
    view, reported, entries = ProgressView(len(runs)), set[str](), ledger.read(sweep)
    states = _states(sweep, runs, entries, {})
    reported.update(run for run, state in states.items() if state is State.FINISHED)
    unavailable = False
    while True:
        try:
            jobs, unavailable = slurm.queued_jobs(entries.users()), False
        except (NoClusterError, SlurmUnavailableError) as error:
            if not unavailable:
                print(f"{error}; still waiting", file=sys.stderr, flush=True)
            unavailable = True
            time.sleep(POLL_SECONDS)
            continue
        # Read the ledger after the queue: it then has every job that the queue shows.
        before, entries = entries, ledger.read(sweep)
        queue = slurm.jobs_of_submissions(entries.submissions, jobs)
        states = _states(sweep, runs, entries, queue)
        require_folder(sweep)  # last: what was read of a folder that is there now is true
        # Runs submitted after the queue was read are not in it: count them as waiting.
        waiting = {*before.waiting, *entries.waiting}
        # Without a job in the queue, nothing is left that would submit waiting runs.
        waiting &= {run for run in runs if queue and states[run] is not State.FINISHED}
        ended = [run for run in runs if states[run] not in LIVE and run not in waiting]
        for run in ended:
            if run not in reported:
                reported.add(run)
                view.print_result(sweep.run(run), len(reported))
        if not queue and len(ended) == len(runs):
            return states
        running = [sweep.run(run) for run in runs if states[run] is State.RUNNING]
        view.update(running, len(reported))
        time.sleep(POLL_SECONDS)


def _states(
    sweep: SweepPaths, runs: Sequence[str], entries: Ledger, queue: Mapping[str, QueuedJob]
) -> dict[str, State]:
    evidence = read_runs(sweep, runs, entries, queue)
    return {run: state_of(item) for run, item in evidence.items()}


def _offer_to_cancel(sweep: SweepPaths) -> None:
    """Ask on a terminal whether to cancel the sweep's jobs; without a terminal, leave them."""
    command = f"python -m xray_hpc.cancel {display_path(sweep.folder)}"
    hint = f"the jobs keep running; cancel them with {command}"
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(f"\n{hint}", flush=True)
        return
    try:
        answer = input("\n[l]eave the jobs running, or [c]ancel them? ").strip().lower()
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if not answer.startswith("c"):
        print(hint)
        return
    cancelled = cancel_runs.plan_cancel(sweep).execute()
    print(f"cancelled {len(cancelled.runs)} runs")
