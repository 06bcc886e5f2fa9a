"""Run a planned sweep on Slurm: check it, submit it, show its scripts."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from xray_hpc.config.cluster_config import minutes
from xray_hpc.config.secret_values import mask_cluster
from xray_hpc.count_text import format_count
from xray_hpc.errors import ConfigError
from xray_hpc.launching.plan import Plan, data_sets, shared_extractors
from xray_hpc.launching.preflight.checks import check_plan
from xray_hpc.launching.preflight.inherited_options import inherit_options
from xray_hpc.launching.preflight.submit_limits import query_submit_limits
from xray_hpc.launching.submission import array_id, reconcile_submissions, submit_plan, summarize
from xray_hpc.launching.submission_plan import SubmissionPlan, plan_submission
from xray_hpc.records import ledger
from xray_hpc.records.paths import SweepPaths, display_path
from xray_hpc.slurm import client as slurm
from xray_hpc.slurm.client import QueuedJob


def inherit_environment(plan: Plan) -> Plan:
    """Return the plan with options that ``SBATCH_...`` variables set, and a note on each."""
    cluster, notes = inherit_options(plan.settings.cluster)
    settings = dataclasses.replace(plan.settings, cluster=cluster)
    return dataclasses.replace(plan, settings=settings, notes=(*plan.notes, *notes))


def check_sweep(plan: Plan, runs: int) -> list[str]:
    """Refuse what Slurm would refuse, or what would fail after hours in the queue.

    Return notes on what may go wrong; ``runs`` is how many runs of the plan are to run.
    """
    cluster = plan.settings.cluster
    slurm.check_log_folder(plan.sweep.folder)
    gpus = max(cluster.gpus, 1)
    for run in plan.runs:
        if (batch := run.config.train.batch_size) % gpus:
            problem = f"{batch}, which is not divisible by cluster.gpus={gpus}"
            raise ConfigError(f"train.batch_size is {problem}; use a multiple of {gpus}")
    return check_plan(plan, -(-runs // cluster.runs_per_job)) if runs else []


def reconciled_queue(sweep: SweepPaths) -> dict[str, QueuedJob]:
    """Return the queue, after completing what a killed launch left open in the ledger."""
    for name, job in reconcile_submissions(sweep).items():
        print(f"note: an earlier launch was killed; adopted its job {job} ({name})")
    return slurm.queued_jobs(ledger.read(sweep).users())


def submit(
    plan: Plan, todo: Sequence[str], queue: Mapping[str, QueuedJob], lock: int, code: Path | None
) -> None:
    """Submit the runs ``todo``, and a collect job that starts when all runs have ended."""
    sweep = plan.sweep
    kinds = {name: found.kind for name, found in ledger.read(sweep).submissions.items()}
    ours = {job: kinds[at.submission] for job, at in queue.items() if at.submission in kinds}
    live = sorted({array_id(job) for job, kind in ours.items() if kind == "runs"}, key=int)
    this = os.environ.get("SLURM_JOB_ID")  # a collect job that submits waiting runs is this one
    collect = next((job for job, kind in ours.items() if kind == "collect" and job != this), None)
    # A killed launch may have submitted its runs, but not the collect job after them.
    has_collect = not kinds or list(kinds.values())[-1] == "collect"
    if not todo and (collect or (has_collect and not live)):
        print("nothing to submit")
        return
    submission = _plan_submission(plan, todo, live, code)
    if collect and not submission.arrays:
        ledger.append(sweep, "waiting", runs=list(submission.later))
    else:
        ids = submit_plan(submission, lock)
        jobs = sum(len(job.tasks) for job in submission.arrays)
        print(summarize(ids, len(todo) - len(submission.later), jobs))
        if jobs:
            limit = minutes(plan.settings.cluster.time, "cluster.time")
            print(f"time limit of a job: {format_count(limit, 'minute')}")
        collect = ids["COLLECT"]
    if later := len(submission.later):
        exceed, them = ("1 run exceeds", "it") if later == 1 else (f"{later} runs exceed", "them")
        print(f"{exceed} your limit of submitted jobs; job {collect} submits {them} later")
    if plan.settings.wait:
        return
    print("monitor:")
    print(f"  python -m xray_hpc.status {shlex.quote(display_path(sweep.folder))} --watch")
    if todo:
        run = display_path(sweep.run(todo[0]).folder)
        print(f"  python -m xray_hpc.logs {shlex.quote(run)} -f")
    print(f"report, when all have ended: {display_path(sweep.report / 'report.md')}")


def show_scripts(plan: Plan, todo: Sequence[str]) -> None:
    """Print the batch scripts that a launch would submit, without secrets."""
    for planned in _plan_submission(plan, todo, [], None).jobs.values():
        job = dataclasses.replace(planned, cluster=mask_cluster(planned.cluster))
        folder = plan.sweep.slurm / f"TIME-{job.kind}"
        print(f"\n--- {job.title}\n{job.script(folder)}", end="")


def has_open_jobs(sweep: SweepPaths) -> bool:
    """Return whether Slurm has, or may have, a job of this sweep that was not cancelled."""
    events = (event for event in ledger.events(sweep) if event["event"] == "cancelled")
    cancelled = {job for event in events for job in event["jobs"]}
    return any(found.job not in cancelled for found in ledger.read(sweep).submissions.values())


def _plan_submission(
    plan: Plan, todo: Sequence[str], live: Sequence[str], code: Path | None
) -> SubmissionPlan:
    cluster = plan.settings.cluster
    sets, extractors = data_sets(plan, todo), shared_extractors(plan, todo)
    limits = query_submit_limits(cluster)
    return plan_submission(plan.sweep, cluster, code, sets, extractors, todo, limits, live)
