"""Staying with a sweep on Slurm until all of its runs have ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

from xray_hpc.errors import SlurmUnavailableError
from xray_hpc.launching.progress_view import ProgressView
from xray_hpc.monitoring import cancel_runs
from xray_hpc.monitoring.run_state import State, gather_evidence, state_of
from xray_hpc.records import ledger
from xray_hpc.records.ledger import Ledger
from xray_hpc.records.paths import SweepPaths, display_path
from xray_hpc.slurm import client as slurm
from xray_hpc.slurm.client import QueuedJob

POLL_SECONDS = 5.0
LIVE = (State.PENDING, State.RUNNING)


def wait_for(sweep: SweepPaths, runs: Sequence[str]) -> int:
    """Follow the runs until none is live and no job of the sweep is left in the queue.

    Gives 0 where all of them are finished, else 1. Ctrl-C asks whether to cancel the jobs.

    Raises:
        KeyboardInterrupt: Ctrl-C; the jobs run on, or are cancelled if that was the answer.
    """
    try:
        states = _follow(sweep, runs)
    except KeyboardInterrupt:
        _ask_what_to_do(sweep)
        raise
    finished = sum(state is State.FINISHED for state in states.values())
    print(f"{finished} of {len(runs)} runs finished: {display_path(sweep.report / 'report.md')}")
    return int(finished < len(runs))


def _follow(sweep: SweepPaths, runs: Sequence[str]) -> Mapping[str, State]:
    view, ended, told = ProgressView(len(runs)), set[str](), ledger.read(sweep)
    states = _states(sweep, runs, told, {})
    ended.update(run for run, state in states.items() if state is State.FINISHED)
    silent = False
    while True:
        try:
            jobs, silent = slurm.queued_jobs(told.users()), False
        except SlurmUnavailableError as error:
            if not silent:
                print(f"{error}; still waiting", file=sys.stderr, flush=True)
            silent = True
            time.sleep(POLL_SECONDS)
            continue
        before, told = told, ledger.read(sweep)  # after the queue, whose jobs are in it by now
        queue = slurm.jobs_of_submissions(told.submissions, jobs)
        states = _states(sweep, runs, told, queue)
        # What was submitted since the queue was asked still waits as far as that goes.
        waiting = {*before.waiting, *told.waiting}
        # With no job left that could submit them, runs that wait for room wait for nobody.
        waiting &= {run for run in runs if queue and states[run] is not State.FINISHED}
        over = [run for run in runs if states[run] not in LIVE and run not in waiting]
        for run in over:
            if run not in ended:
                ended.add(run)
                view.ended(sweep.run(run), len(ended))
        if not queue and len(over) == len(runs):
            return states
        going = [sweep.run(run) for run in runs if states[run] is State.RUNNING]
        view.going(going, len(ended))
        time.sleep(POLL_SECONDS)


def _states(
    sweep: SweepPaths, runs: Sequence[str], told: Ledger, queue: Mapping[str, QueuedJob]
) -> dict[str, State]:
    jobs = told.jobs()
    return {
        run: state_of(
            gather_evidence(sweep.run(run), jobs.get(run), queue, told.cancelled.get(run))
        )
        for run in runs
    }


def _ask_what_to_do(sweep: SweepPaths) -> None:
    """Ask on a terminal whether to cancel the sweep's jobs, and do so; else leave them."""
    left = f"the jobs run on; python -m xray_hpc.cancel {display_path(sweep.folder)} cancels them"
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(f"\n{left}", flush=True)
        return
    try:
        answer = input("\n[l]eave the jobs running, or [c]ancel them? ").strip().lower()
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if not answer.startswith("c"):
        print(left)
        return
    found = cancel_runs.plan_cancel(sweep).execute()
    print(f"cancelled {len(found.runs)} runs")
