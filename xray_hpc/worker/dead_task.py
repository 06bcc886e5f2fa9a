"""Handle the runs of a task whose worker was killed, or never started."""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from contextlib import ExitStack

from xray_hpc.cgroup_memory import job_ran_out_of_memory, memory_cgroup
from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.errors import UserError
from xray_hpc.records import exit_codes
from xray_hpc.records.lease import Lease, LeaseError
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import ErrorInfo, Failure, RunRecord, Status
from xray_hpc.worker.attempt import acquire_lease
from xray_hpc.worker.attempt_record import (
    AttemptOutcome,
    finish_attempt,
    has_unrecorded_end,
    log_unwritable_folder,
    require_record,
    shell_exit_code,
    start_attempt,
    valid_record,
)
from xray_hpc.worker.exit_classification import ExitEvidence, classify_exit
from xray_hpc.worker.failure_policy import policy_decision
from xray_hpc.worker.job_signals import JobSignals
from xray_hpc.worker.requeue import requeue_job
from xray_hpc.worker.slurm_job import KILL_WAIT, JobState, SlurmJob, current_job

logger = logging.getLogger(__name__)

# What srun returns for a task that received SIGKILL: 128 + 9, or 256 + 9.
KILLED_CODES = (137, 265)


def handle_dead_task(
    runs: Sequence[RunPaths], cluster: ClusterConfig, code: int, setup_error: str | None = None
) -> None:
    """Record how the task's attempts ended, and requeue the job if needed.

    The batch shell of the job calls this, on the same node, when the task has ended with ``code``.
    Runs that had not started are requeued; if none had, the first one is charged with an attempt,
    so that a task that always dies at once is not requeued for ever. ``setup_error`` is the message
    of the line of ``cluster.setup`` that failed instead of the task.
    """
    job = current_job()
    if job is None or code == exit_codes.LEASE_HELD:
        return
    state = job.state(KILL_WAIT)
    requeued = state is not None and state.restarts > job.restarts
    if state is not None and requeued and state.state == "RUNNING":
        return  # a later start of the job has the runs; Slurm took this node for lost
    signed_code, failure = _classify(job, state, code, cluster)
    cause = None
    if setup_error and failure is Failure.NODE_FAILURE:
        failure, cause = Failure.SETUP, ErrorInfo("SetupError", setup_error)
    records = {run: valid_record(run) for run in runs}
    attempted = [run for run, record in records.items() if _has_attempt(record, job)]
    open_runs = [run for run, record in records.items() if record and _is_open(record, job)]
    started = [run for run in open_runs if run in attempted]
    if not started:
        if requeued or failure is Failure.CANCELLED:
            return
        if not attempted:
            started = open_runs[:1]
    exit_code = shell_exit_code(signed_code)
    decision = policy_decision(cluster.on_failure, failure)  # about runs that had not started
    with JobSignals(job, cluster.signal_time) as signals, ExitStack() as leases:
        outcomes = []
        for run in open_runs:
            if run not in started:
                outcomes.append(AttemptOutcome(run, exit_code, failure, decision))
                continue
            try:
                lease = leases.enter_context(acquire_lease(run, job, signals))
                outcomes.append(_finish(run, lease, job, signed_code, failure, cause, cluster))
            except (LeaseError, UserError) as error:  # a later start of this job trains the run
                logger.info(f"{run.name}: {error}")
            except OSError as error:
                log_unwritable_folder(run, error)
        if outcomes:
            logger.info(f"the task of the job ended with exit code {code}")
            requeue_job(outcomes, job, cluster, signals.slurm_patience)


def _classify(
    job: SlurmJob, state: JobState | None, code: int, cluster: ClusterConfig
) -> tuple[int, Failure]:
    """Return the exit code of the task, ``-n`` if signal n killed it, and why it ended."""
    out_of_memory = job_ran_out_of_memory(memory_cgroup())
    if code in KILLED_CODES or out_of_memory:
        code = -signal.SIGKILL
    # The batch shell runs this, so the job is still running unless Slurm is ending it.
    ending = state is not None and (state.state != "RUNNING" or state.restarts > job.restarts)
    received, oom_kills = signal.SIGTERM if ending else None, int(out_of_memory)
    evidence = ExitEvidence(code, received, job, state, cluster.signal_time, oom_kills=oom_kills)
    return code, classify_exit(evidence)


def _finish(
    run: RunPaths,
    lease: Lease,
    job: SlurmJob,
    code: int,
    failure: Failure,
    error: ErrorInfo | None,
    cluster: ClusterConfig,
) -> AttemptOutcome:
    """Record the end of the run's attempt; a failure that the training recorded stands."""
    record = require_record(run)
    if not _has_attempt(record, job):
        start_attempt(run, record, job)
    elif record.status is Status.FAILED and record.failure:
        failure, error = Failure(record.failure), record.error
    process = "the task of its job"
    return finish_attempt(run, code, failure, cluster, lease, error=error, process=process)


def _is_open(record: RunRecord, job: SlurmJob) -> bool:
    """Return whether the run is unfinished, not given up, and not concluded by this start."""
    if record.status is Status.FINISHED:
        return False
    last = record.attempts[-1] if record.attempts else None
    if last is None or last.job_id != job.id or has_unrecorded_end(record):
        return True
    return last.requeued and last.restarts != job.restarts


def _has_attempt(record: RunRecord | None, job: SlurmJob) -> bool:
    """Return whether the run's last attempt was made by this start of the job."""
    last = record.attempts[-1] if record and record.attempts else None
    return last is not None and (last.job_id, last.restarts) == (job.id, job.restarts)
