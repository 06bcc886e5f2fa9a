"""What a launch asks of Slurm: first whether it can be, then that it be done."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from xray_hpc.errors import ConfigError
from xray_hpc.launching.plan import Plan, data_sets, shared_extractors
from xray_hpc.launching.preflight import checks
from xray_hpc.launching.preflight.limits import limits
from xray_hpc.launching.submission_plan import SubmissionPlan, plan_submission, send
from xray_hpc.launching.submit_job import array_id, settle
from xray_hpc.records import ledger
from xray_hpc.records.paths import SweepPaths, display_path
from xray_hpc.slurm import client as slurm
from xray_hpc.slurm.client import QueuedJob


def check(plan: Plan, runs: int) -> list[str]:
    """Refuse what Slurm would refuse, or what would fail after hours in its queue.

    ``runs`` is how many are left to run. Gives notes on what may go wrong.
    """
    cluster = plan.settings.cluster
    slurm.check_log_folder(plan.sweep.folder)
    gpus = max(cluster.gpus, 1)
    for run in plan.runs:
        if (batch := run.config.train.batch_size) % gpus:
            raise ConfigError(
                f"train.batch_size is {batch}, which does not divide among cluster.gpus={gpus}; "
                f"use a multiple of {gpus}"
            )
    return checks.check(plan, -(-runs // cluster.runs_per_job)) if runs else []


def settled_queue(sweep: SweepPaths) -> dict[str, QueuedJob]:
    """The queue, when it is settled what a launch that was killed has submitted."""
    for name, job in settle(sweep).items():
        print(f"note: a launch was killed here; its job {job} is taken over ({name})")
    return slurm.queued_jobs(ledger.read(sweep).users())


def submit(
    plan: Plan, todo: Sequence[str], queue: Mapping[str, QueuedJob], lock: int, code: Path | None
) -> None:
    """Submit what is to run, and the collect job behind all that will run then."""
    sweep = plan.sweep
    kinds = {name: found.kind for name, found in ledger.read(sweep).submissions.items()}
    mine = {job: kinds[at.submission] for job, at in queue.items() if at.submission in kinds}
    live = sorted({array_id(job) for job, kind in mine.items() if kind == "runs"}, key=int)
    this = os.environ.get("SLURM_JOB_ID")  # the collect job itself sees to runs that waited
    collect = next((job for job, kind in mine.items() if kind == "collect" and job != this), None)
    # A launch that was killed may have come to its runs' jobs, and not to the one behind them.
    compared = not kinds or list(kinds.values())[-1] == "collect"
    if not todo and (collect or (compared and not live)):
        print("nothing to submit")
        return
    wave = _wave(plan, todo, live, code)
    if wave.empty and collect:
        ledger.append(sweep, "waiting", runs=list(wave.later))
    else:
        sent = send(wave, lock)
        runs = len(todo) - len(wave.later)
        print(sent.line(runs, sum(len(job.tasks) for _, job in wave.arrays)))
        collect = sent.collect
    if wave.later:
        many = f"{len(wave.later)} run{'s' if len(wave.later) > 1 else ''}"
        print(f"{many} wait until Slurm has room for more of your jobs: job {collect} submits them")
    if plan.settings.wait:
        return
    print("watch:")
    print(f"  python -m xray_hpc.status {shlex.quote(display_path(sweep.folder))} --watch")
    if todo:
        log = display_path(sweep.run(todo[0]).folder)
        print(f"  python -m xray_hpc.logs {shlex.quote(log)} -f")
    print(f"when all have ended: {display_path(sweep.report / 'report.md')}")


def show_scripts(plan: Plan, todo: Sequence[str]) -> None:
    """Print the batch scripts that would be submitted."""
    for job in _wave(plan, todo, [], None).jobs():
        folder = plan.sweep.slurm / f"TIME-{job.kind}"
        print(f"\n--- {job.title}\n{job.script(folder)}", end="")


def anything_open(sweep: SweepPaths) -> bool:
    """Whether Slurm has, or may have, taken a job of this sweep that was not taken back."""
    taken_back = {
        job
        for event in ledger.events(sweep)
        if event["event"] == "cancelled"
        for job in event["jobs"]
    }
    return any(found.job not in taken_back for found in ledger.read(sweep).submissions.values())


def _wave(
    plan: Plan, todo: Sequence[str], live: Sequence[str], code: Path | None
) -> SubmissionPlan:
    cluster = plan.settings.cluster
    sets, extractors = data_sets(plan, todo), shared_extractors(plan, todo)
    allowed = limits(cluster)
    return plan_submission(plan.sweep, cluster, code, sets, extractors, todo, allowed, live)
