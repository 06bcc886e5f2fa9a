"""Submit a sweep's jobs to Slurm, with a write-ahead entry in the ledger for each."""

from __future__ import annotations

import dataclasses
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from xray_hpc.config.secret_values import mask_cluster
from xray_hpc.count_text import format_count
from xray_hpc.errors import (
    NoClusterError,
    SlurmError,
    SlurmUnavailableError,
    SubmissionUnknownError,
)
from xray_hpc.launching.batch_job import SLURM_PROXY, BatchJob
from xray_hpc.launching.preflight.checks import check_script
from xray_hpc.launching.submission_plan import SubmissionPlan
from xray_hpc.package_folders import resource
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import write_json, write_text
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_record import user_name
from xray_hpc.shared_folder import GUARDED, PRIVATE, make_subfolder
from xray_hpc.slurm import client as slurm
from xray_hpc.slurm.client import QueuedJob

RETRY_SECONDS = 10.0
ATTEMPTS = 12
GRACE_SECONDS = 10.0


def submit_plan(plan: SubmissionPlan, lock: int) -> dict[str, str]:
    """Submit all jobs of a plan, or none; return their ids by placeholder.

    Raises:
        SlurmError: Slurm refuses a job, or does not answer.
    """
    sweep = plan.jobs["COLLECT"].sweep
    for job in plan.jobs.values():
        script = dataclasses.replace(job, after=()).script(sweep.slurm / "x")
        check_script(script, mask_cluster(job.cluster).extra if job.on_gpu else None)
    ids: dict[str, str] = {}
    try:
        for placeholder, job in plan.jobs.items():
            if job.kind == "collect" and plan.later:
                ledger.append(sweep, "waiting", runs=list(plan.later))
            after = tuple(ids.get(name, name) for name in job.after)
            ids[placeholder] = submit_job(dataclasses.replace(job, after=after), lock)
    except BaseException as error:
        _cancel(sweep, list(ids.values()), str(error) or "interrupted")
        raise
    return ids


def _cancel(sweep: SweepPaths, jobs: list[str], reason: str) -> None:
    """Cancel the jobs of a submission that failed."""
    if not jobs:
        return
    if not slurm.cancel(jobs):
        message = f"{reason}; scancel failed too, run: scancel {' '.join(jobs)}"
        raise SlurmUnavailableError(reason, message)
    ledger.append(sweep, "cancelled", jobs=jobs, runs=[])


def summarize(ids: Mapping[str, str], runs: int, jobs: int) -> str:
    """Return a line on the submission of ``runs`` runs in ``jobs`` jobs."""
    arrays = [job for placeholder, job in ids.items() if placeholder.startswith("RUNS")]
    if not arrays:
        return f"submitted job {ids['COLLECT']}, which compares the runs when all have ended"
    order = {"STAGE": "first", "FEATURES": "second", "COLLECT": "last"}
    others = [f"{job.lower()} job {ids[job]} {when}" for job, when in order.items() if job in ids]
    shown = f"jobs {', '.join(arrays)}: {len(arrays)} arrays of {runs} runs"
    if len(arrays) == 1:
        shown = f"job {arrays[0]}: " + ("run" if runs == 1 else f"array of {runs} runs")
    packed = f" in {format_count(jobs, 'job')}" if jobs != runs else ""
    return f"submitted {shown}{packed} ({', '.join(others)})"


def submit_job(job: BatchJob, lock: int) -> str:
    """Submit a job and return its id; the ledger records it before and after.

    Args:
        lock: file descriptor of the sweep's launch lock.

    Raises:
        SlurmError: Slurm refuses the job.
        SlurmUnavailableError: Slurm does not answer for minutes.
        SubmissionUnknownError: Slurm may have accepted the job.
    """
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{job.kind}-{secrets.token_hex(2)}"
    folder = job.sweep.slurm / name
    tasks = [list(runs) for runs in job.tasks]
    settings = mask_cluster(job.cluster)
    deny = GUARDED if settings == job.cluster else PRIVATE
    make_subfolder(job.sweep.slurm)
    make_subfolder(folder)
    write_text(folder / slurm.SCRIPT, job.script(folder), deny)
    if job.cluster.container:
        # Next to the script, because the nodes may have the package in the image only.
        write_text(
            folder / SLURM_PROXY, (resource("jobs") / SLURM_PROXY).read_text("utf-8"), GUARDED
        )
    if job.kind == "runs":
        content = {"kind": job.kind, "cluster": dataclasses.asdict(settings), "tasks": tasks}
        write_json(folder / "tasks.json", content, GUARDED)
    user = user_name()
    ledger.append(job.sweep, "submitting", submission=name, kind=job.kind, tasks=tasks, user=user)
    try:
        job_id = _sbatch(folder / slurm.SCRIPT, lock)
    except (SlurmUnavailableError, SubmissionUnknownError):
        raise  # Slurm may have accepted the job: the next launch reconciles the ledger
    except SlurmError as error:
        ledger.append(job.sweep, "refused", submission=name, reason=str(error))
        raise type(error)(f"sbatch refused the job: {error}") from error
    ledger.append(job.sweep, "submitted", submission=name, job=job_id)
    return job_id


def _sbatch(script: Path, lock: int) -> str:
    """Submit a script; while Slurm does not answer, retry unless the job is in the queue."""
    reason, name = "", script.parent.name
    for _ in range(ATTEMPTS):
        try:
            return _identify_job(name, slurm.submit(script, hold_open=lock))
        except SlurmUnavailableError as error:
            reason = error.reason
        except SubmissionUnknownError:
            raise
        except SlurmError as error:
            if not reason:
                if job := _accepted_job(name):  # a site's wrapper of sbatch failed afterwards
                    return job
                raise
            if not isinstance(error, NoClusterError):  # that is a controller which restarts
                problem = f"sbatch failed ({reason}), then refused the job ({error})"
                raise SubmissionUnknownError(f"{problem}; run the same command again") from error
        print(f"Slurm does not answer ({reason}); retrying", file=sys.stderr, flush=True)
        if job := _find_job(name, _wait_for_queue()):
            return job
    raise SlurmUnavailableError(reason)


def _identify_job(submission: str, output: str) -> str:
    """Return the id of the job that ``sbatch`` accepted with this output.

    More than an id comes from a site's wrapper of ``sbatch``; then the queue decides.
    """
    if (job := slurm.parse_job_id(output)) and output.strip().partition(";")[0] == job:
        return job
    if job := _accepted_job(submission) or job:
        return job
    last = output.strip().rpartition("\n")[2]
    problem = f"sbatch printed {last!r}, not a job id, and the queue has no job of {submission}"
    raise SubmissionUnknownError(f"{problem}; run the same command again")


def _accepted_job(submission: str) -> str | None:
    """Return the id of a submission's job if Slurm answers and knows it."""
    try:
        return _find_job(submission, slurm.queued_jobs(ended=True))
    except SlurmError:
        return None


def _wait_for_queue() -> dict[str, QueuedJob]:
    """Return the queue, with jobs that have just ended, as soon as Slurm answers."""
    for _ in range(ATTEMPTS):
        time.sleep(RETRY_SECONDS)
        try:
            return slurm.queued_jobs(ended=True)
        except SlurmUnavailableError as error:
            reason = error.reason
        except NoClusterError as error:  # without a cached configuration, while Slurm restarts
            reason = str(error)
    raise SlurmUnavailableError(reason)


def _find_job(submission: str, queue: Mapping[str, QueuedJob]) -> str | None:
    """Return the id of a submission's job if it is in the queue."""
    # By its name, which is unique: the path to its folder may differ between hosts.
    return next((array_id(job) for job, at in queue.items() if at.submission == submission), None)


def array_id(job: str) -> str:
    """Return the id of the array that a job belongs to: ``17`` for ``17_3``."""
    return job.partition("_")[0]


def reconcile_submissions(sweep: SweepPaths) -> dict[str, str]:
    """Complete the ledger entries that a killed launch left open.

    Returns:
        The job id of each submission that Slurm accepted; the others are recorded as refused.

    Raises:
        SlurmUnavailableError: Slurm does not answer.
    """
    unknown = {name: at for name, at in ledger.read(sweep).submissions.items() if at.job is None}
    if not unknown:
        return {}
    # The controller may yet accept what a killed sbatch has sent. How long ago that was is unknown:
    # the ledger's times are by the clock of another host.
    time.sleep(GRACE_SECONDS)
    queue, accepted = slurm.queued_jobs(ledger.read(sweep).users(), ended=True), {}
    for name in unknown:
        if job := _find_job(name, queue):
            ledger.append(sweep, "submitted", submission=name, job=job)
            accepted[name] = job
        else:
            ledger.append(sweep, "refused", submission=name, reason="the launch was killed before")
    return accepted
