"""What is left to do about the runs of a job whose worker died, or never came to live."""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from contextlib import ExitStack

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.errors import UserError
from xray_hpc.records import exit_codes
from xray_hpc.records.lease import Lease, LeaseError
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Failure, Status
from xray_hpc.worker.attempt import take_lease
from xray_hpc.worker.attempt_record import (
    AttemptOutcome,
    begin,
    conclude,
    existing_record,
    exit_code,
    unseen,
)
from xray_hpc.worker.failure_policy import ExitEvidence, by_policy, classify
from xray_hpc.worker.job_signals import Signals
from xray_hpc.worker.requeue import record_of, requeue_job, say_unwritable
from xray_hpc.worker.resource_usage import job_out_of_memory, memory_group
from xray_hpc.worker.slurm_job import KILL_WAIT, Job, JobState, current_job

logger = logging.getLogger(__name__)

# What srun gives for a task that was killed: 128 + 9, or 256 + 9.
KILLED_CODES = (137, 265)


def conclude_dead(runs: Sequence[RunPaths], cluster: ClusterConfig, code: int) -> None:
    """Do what a worker could not, where it was killed itself; the task ended with ``code``.

    It is for the batch shell of the job, on the same node. Runs that this start of the job has
    concluded are left alone. A run whose turn had not come is to be tried again; where none had
    begun, that counts as a try of the first, so that there is an end to it.
    """
    job = current_job()
    if job is None or code == exit_codes.LEASE_HELD:
        return
    state = job.state(KILL_WAIT)
    put_back = state is not None and state.restarts > job.restarts
    if put_back and state is not None and state.state == "RUNNING":
        return  # a later start of the job, while Slurm took this node for lost
    dead = _Dead(job, cluster, state, code)
    todo = [run for run in runs if _is_open(run, job)]
    begun = [run for run in todo if _tried(run, job)]
    if not begun:
        if put_back or dead.failure is Failure.CANCELLED:
            return
        if not any(_tried(run, job) for run in runs):
            begun = todo[:1]
    with Signals(job, cluster.signal_time) as signals, ExitStack() as leases:
        outcomes = []
        for run in todo:
            try:
                if run in begun:
                    lease = leases.enter_context(take_lease(run, job, signals))
                    outcomes.append(dead.conclude(run, lease))
                else:
                    outcomes.append(dead.leave(run))
            except (LeaseError, UserError) as error:  # a later start of this job trains it
                logger.info(f"{run.name}: {error}")
            except OSError as error:
                say_unwritable(run, error)
        if outcomes:
            logger.info(f"the job's task ended with {code}")
            requeue_job(outcomes, job, cluster, signals.patience)


class _Dead:
    """A task of a job that ended without a word, with ``code``."""

    def __init__(self, job: Job, cluster: ClusterConfig, state: JobState | None, code: int) -> None:
        self._job, self._cluster = job, cluster
        group = memory_group()
        out_of_memory = job_out_of_memory(group)
        self._code = -signal.SIGKILL if code in KILLED_CODES or out_of_memory else code
        # While this shell runs, the job does, unless Slurm is about to end it.
        ending = state is not None and (state.state != "RUNNING" or state.restarts > job.restarts)
        evidence = ExitEvidence(
            self._code,
            asked=signal.SIGTERM if ending else None,
            in_job=True,
            job=state,
            restarts=job.restarts,
            notice=cluster.signal_time,
            oom_kills=int(out_of_memory),
        )
        self.failure = classify(evidence)

    def leave(self, run: RunPaths) -> AttemptOutcome:
        """The outcome of a run whose turn had not come."""
        decision = by_policy(self._cluster.on_failure, self.failure)
        return AttemptOutcome(run, exit_code(self._code), self.failure, decision)

    def conclude(self, run: RunPaths, lease: Lease) -> AttemptOutcome:
        """Write how the run's try ended; the training may have been able to say so."""
        record = existing_record(run)
        failure, error = self.failure, None
        if not _tried(run, self._job):
            begin(run, record, self._job)
        elif record.status is Status.FAILED and record.failure:
            failure, error = Failure(record.failure), record.error
        return conclude(
            run, self._code, failure, self._cluster, lease, error=error, what="its job's task"
        )


def _is_open(run: RunPaths, job: Job) -> bool:
    """Whether the run is neither finished nor given up, nor was concluded by this start."""
    record = record_of(run)
    if record is None or record.status is Status.FINISHED:
        return False
    last = record.attempts[-1] if record.attempts else None
    if last is None or last.job_id != job.id or unseen(record):
        return True
    return last.requeued and last.restarts != job.restarts


def _tried(run: RunPaths, job: Job) -> bool:
    """Whether this start of the job began a try of the run."""
    record = record_of(run)
    last = record.attempts[-1] if record and record.attempts else None
    return last is not None and (last.job_id, last.restarts) == (job.id, job.restarts)
