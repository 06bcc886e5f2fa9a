"""One attempt at a run: under its lease, in a child process, recorded in ``run.json``.

TensorFlow runs in the child. This process is small and survives it however the child ends, so it
can record what a killed process cannot.
"""

from __future__ import annotations

import functools
import logging
import signal
import statistics
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from xray_hpc.cgroup_memory import memory_cgroup, oom_kill_count
from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.errors import NodeError, StorageError, UserError
from xray_hpc.records import exit_codes
from xray_hpc.records.atomic_files import is_gone
from xray_hpc.records.frozen_run import read_frozen_run
from xray_hpc.records.lease import Lease, LeaseError
from xray_hpc.records.lease_file import (
    EXPIRY_SECONDS,
    LEASE_VARIABLE,
    LeaseOwner,
    request_lease,
)
from xray_hpc.records.paths import RunPaths, missing_folder
from xray_hpc.records.run_progress import remove_checkpoints
from xray_hpc.records.run_record import ErrorInfo, Failure, RunRecord, Status, now, write_record
from xray_hpc.worker.attempt_record import (
    AttemptOutcome,
    end_attempt,
    finish_attempt,
    has_unrecorded_end,
    log_unwritable_folder,
    node_name,
    require_record,
    start_attempt,
)
from xray_hpc.worker.exit_classification import ExitEvidence, classify_exit, termination_signal
from xray_hpc.worker.failure_policy import FailureDecision, policy_decision
from xray_hpc.worker.gpu_usage import has_nvidia_smi, sample_gpu_usage
from xray_hpc.worker.job_signals import JobSignals
from xray_hpc.worker.node_check import check_node
from xray_hpc.worker.slurm_job import KILL_WAIT, JobState, SlurmJob
from xray_hpc.worker.training_process import RunLog, TrainingProcess

logger = logging.getLogger(__name__)

# An earlier start of this job, on a node that Slurm has lost, may live until its lease expires.
LEASE_PATIENCE_SECONDS = 1.5 * EXPIRY_SECONDS
# How long a training may take to save its checkpoint when a later start of job {job_id} takes over.
TAKEOVER_GRACE_SECONDS = 20.0
# After so many starts of the job have waited for the lease of a run, a user has to look at it.
MAX_WAITING_STARTS = 4
# Failures after which Slurm requeues a job by itself, whatever cluster.on_failure says.
REQUEUED_BY_SLURM = (Failure.PREEMPTED, Failure.NODE_FAILURE)
NODE_CHECK_FAILURES = {
    NodeError: (exit_codes.BAD_NODE, Failure.NODE_FAILURE),
    StorageError: (exit_codes.STORAGE_ERROR, Failure.STORAGE),
}


@dataclass(frozen=True)
class AttemptRunner:
    """Run the attempts of one job."""

    cluster: ClusterConfig
    job: SlurmJob | None
    signals: JobSignals
    leases: ExitStack  # the caller releases them after it has decided about the job
    parallel: int = 1  # how many runs train at the same time
    cpus: int | None = None  # for each of them; None for all
    # Set when a later start of the same job, whose node Slurm took for lost, requests a run; it
    # then takes over all of them.
    superseded: threading.Event = field(default_factory=threading.Event)

    def run(self, paths: RunPaths) -> AttemptOutcome:
        """Train the run unless it is finished. Errors are logged, and part of the outcome."""
        try:
            read_frozen_run(paths)
            if self.signals.received is not None:
                return self._skip(paths, self.signals.received)
            if self.superseded.is_set():
                return AttemptOutcome(paths, exit_codes.LEASE_HELD)
            lease = acquire_lease(paths, self.job, self.signals)
            self.leases.enter_context(lease)
            return self._attempt(paths, lease)
        except LeaseError as error:
            if self.signals.received is not None:
                return self._skip(paths, self.signals.received)
            return self._held(paths, error.owner)
        except UserError as error:
            logger.error(str(error))
            if isinstance(error, StorageError):
                return AttemptOutcome(paths, exit_codes.STORAGE_ERROR, Failure.STORAGE)
            return AttemptOutcome(paths, exit_codes.USER_ERROR)
        except OSError as error:
            log_unwritable_folder(paths, error)
            return AttemptOutcome(paths, exit_codes.STORAGE_ERROR, Failure.STORAGE)

    def _held(self, paths: RunPaths, owner: LeaseOwner) -> AttemptOutcome:
        """Leave a run to the process that trains it; a batch job is requeued to check on it."""
        decision = None
        job = self.job
        if job and job.batch and (owner.job != job.id or owner.restarts < job.restarts):
            starts = request_lease(paths.lease, job.id, job.restarts)
            reason = f"{starts} of {MAX_WAITING_STARTS} starts have waited for it"
            decision = FailureDecision("requeue" if starts < MAX_WAITING_STARTS else "stop", reason)
        logger.error(f"{paths.name} is being trained by {owner}")
        return AttemptOutcome(paths, exit_codes.LEASE_HELD, decision=decision)

    def _skip(self, paths: RunPaths, received: signal.Signals) -> AttemptOutcome:
        """Leave a run that had not started when its job received a termination signal."""
        record = require_record(paths)
        if record.status is Status.FINISHED:
            return AttemptOutcome(paths, 0)
        failure = classify_exit(self._evidence(-received))
        # This start of the job made no attempt, so the run's earlier attempts do not count.
        decision = policy_decision(self.cluster.on_failure, failure)
        return AttemptOutcome(paths, 128 + received, failure, decision)

    def _attempt(self, paths: RunPaths, lease: Lease) -> AttemptOutcome:
        record = require_record(paths)
        if record.status is Status.FINISHED:
            remove_checkpoints(paths)  # left by a process that ended before it could
            logger.info(f"{paths.name} is already finished")
            return AttemptOutcome(paths, 0)
        if outcome := self._stop(paths, record, lease):
            return outcome
        start_attempt(paths, record, self.job)
        try:
            if self.cluster.check_node:
                check_node(paths.folder, self.job)
        except (NodeError, StorageError) as problem:
            logger.error(str(problem))
            code, failure = NODE_CHECK_FAILURES[type(problem)]
            error = ErrorInfo(type(problem).__name__, str(problem))
            return finish_attempt(paths, code, failure, self.cluster, lease, error=error)
        return self._train(paths, lease)

    def _stop(self, paths: RunPaths, record: RunRecord, lease: Lease) -> AttemptOutcome | None:
        """Return an outcome if the policy stops the run, though Slurm has requeued the job."""
        last = record.attempts[-1] if record.attempts else None
        job = self.job
        if job is None or last is None or last.job_id != job.id or last.restarts >= job.restarts:
            return None
        recorded = Failure(last.failure) if last.failure else None
        failure = Failure.NODE_FAILURE if has_unrecorded_end(record) else recorded
        if last.requeued or failure not in REQUEUED_BY_SLURM:
            return None
        decision = policy_decision(self.cluster.on_failure, failure)
        if decision.action != "stop":
            return None
        if has_unrecorded_end(record):
            code, unknown = -signal.SIGKILL, {"ended": None}
            finish_attempt(paths, code, failure, self.cluster, lease, used=unknown)
        logger.info(f"not resuming {paths.name}: {decision.reason}")
        return AttemptOutcome(paths, 1, failure)

    def _train(self, paths: RunPaths, lease: Lease) -> AttemptOutcome:
        cgroup = memory_cgroup()
        oom_kills_before = oom_kill_count(cgroup)
        job_id, gpus = (self.job.id, self.job.gpus) if self.job else (None, None)
        heading = f"{now()} on {node_name(self.job)}" + (f", job {job_id}" if job_id else "")
        with RunLog(paths, heading) as log, sample_gpu_usage(bool(gpus)) as gpu_usage:
            label = paths.name if self.parallel > 1 else None
            environment = self._environment() | {LEASE_VARIABLE: str(lease.file)}
            process = TrainingProcess(paths, environment, label)
            with self.signals.forwarded_to(process):
                code = process.wait(log, lambda: self._check_lease(lease, process, log))
        if is_gone(paths.folder):
            logger.error(missing_folder(paths))
            return AttemptOutcome(paths, exit_codes.STORAGE_ERROR, Failure.STORAGE)
        if lease.lost:
            logger.error(f"lost the lease of {paths.name}; writing nothing more to its folder")
            return AttemptOutcome(paths, exit_codes.LEASE_HELD)
        record = require_record(paths)
        gpu_use = round(statistics.fmean(gpu_usage), 1) if gpu_usage else None
        used = process.usage | {"gpu_use": gpu_use}
        if record.status is Status.FINISHED:  # written last, so the exit code does not matter
            write_record(paths, end_attempt(paths, record, None, **used))
            remove_checkpoints(paths)
            return AttemptOutcome(paths, 0)
        if self.superseded.is_set():
            logger.error(f"stopped {paths.name}: a later start of job {job_id} takes over")
            return AttemptOutcome(paths, exit_codes.LEASE_HELD)
        failed = record.status is Status.FAILED and record.failure
        recorded = Failure(record.failure) if failed else None
        oom_kills = oom_kill_count(cgroup) - oom_kills_before
        evidence = self._evidence(code, recorded, process.tail.decode(errors="replace"), oom_kills)
        if evidence.received is None and recorded:
            error = record.error
        else:
            error, code = None, -(evidence.received or termination_signal(code) or -code)
        failure = classify_exit(evidence)
        return finish_attempt(paths, code, failure, self.cluster, lease, error=error, used=used)

    def _check_lease(self, lease: Lease, process: TrainingProcess, log: RunLog) -> None:
        """Terminate the process if another one has taken over the run, or wants to."""
        if lease.requested:
            self.superseded.set()
        if lease.lost:
            log.stop()
            process.terminate(0)
        elif self.superseded.is_set():
            process.terminate(TAKEOVER_GRACE_SECONDS)

    def _evidence(
        self, code: int, recorded: Failure | None = None, output: str = "", oom_kills: int = 0
    ) -> ExitEvidence:
        job = self.job
        state = None
        if self.signals.received is not None:
            state = self._state_after_signal
        elif job and recorded is None and termination_signal(code):
            state = job.state(KILL_WAIT)
        received, seconds = self.signals.received, self.cluster.signal_time
        return ExitEvidence(code, received, job, state, seconds, recorded, output, oom_kills)

    @functools.cached_property
    def _state_after_signal(self) -> JobState | None:
        """The job's state when a signal ended its first run; the same for the others."""
        return self.job.state(self.signals.slurm_patience) if self.job else None

    def _environment(self) -> dict[str, str]:
        bar = self.parallel == 1 and sys.stdout.isatty()
        environment = {"XRAY_HPC_BAR": str(int(bar))}
        if self.cpus is not None:
            environment["XRAY_HPC_CPUS"] = str(self.cpus)
        gpus = self.job.gpus if self.job else None
        # Pass on 0 as well: a node may expose the GPUs of other jobs to a job without any.
        if gpus == 0 or (gpus and self.cluster.check_node and has_nvidia_smi()):
            environment["XRAY_HPC_GPUS"] = str(gpus)
        return environment


def acquire_lease(paths: RunPaths, job: SlurmJob | None, signals: JobSignals) -> Lease:
    """Acquire the lease of the run, or raise ``LeaseError``; a batch job waits for it for a while.

    If the holder is an earlier start of the same job, which survived on a node that Slurm has lost,
    it is asked to release the lease.
    """
    end = time.monotonic() + (LEASE_PATIENCE_SECONDS if job is not None and job.batch else 0)
    job_id, restarts = (job.id, job.restarts) if job else (None, 0)
    waiting = False

    def stopped() -> bool:
        return signals.received is not None

    while True:
        try:
            return Lease.acquire(paths.lease, job=job_id, restarts=restarts, should_stop=stopped)
        except LeaseError as error:
            if time.monotonic() >= end or stopped():
                raise
            if job is not None and not waiting:
                logger.info(f"{paths.name} is being trained by {error.owner}; waiting for it")
                if error.owner.job == job.id and error.owner.restarts < job.restarts:
                    request_lease(paths.lease, job.id, job.restarts)
            waiting = True
        time.sleep(1)
