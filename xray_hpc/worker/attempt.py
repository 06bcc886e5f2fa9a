"""One try of one run: under its lease, in a child process, with the truth about it in its record.

The child does the TensorFlow work. This process is small, outlives the child however that ends,
and so can write into ``run.json`` what a killed process cannot.
"""

from __future__ import annotations

import functools
import logging
import signal
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from xray_hpc.config.cluster_config import Action, ClusterConfig
from xray_hpc.errors import UserError
from xray_hpc.records import exit_codes
from xray_hpc.records.atomic_files import is_storage_failure
from xray_hpc.records.frozen_run import read_frozen_run
from xray_hpc.records.lease import EXPIRY_SECONDS, Lease, LeaseError, LeaseOwner, request_lease
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_progress import remove_checkpoints
from xray_hpc.records.run_record import Failure, RunRecord, Status, now, write_record
from xray_hpc.worker.attempt_record import (
    AttemptOutcome,
    begin,
    conclude,
    ended_attempt,
    existing_record,
    node_name,
    unseen,
)
from xray_hpc.worker.failure_policy import (
    ExitEvidence,
    FailureDecision,
    by_policy,
    classify,
    told_to_end,
)
from xray_hpc.worker.job_signals import Signals
from xray_hpc.worker.node_check import counts_gpus, look
from xray_hpc.worker.resource_usage import GpuUse, memory_group, oom_kills, process_usage
from xray_hpc.worker.slurm_job import KILL_WAIT, Job, JobState
from xray_hpc.worker.training_process import Child, Log

logger = logging.getLogger(__name__)

# An older copy of this job, on a node that Slurm has lost, may live until its lease expires.
PATIENCE_SECONDS = 1.5 * EXPIRY_SECONDS
# How long trainings have to end that go on in a later start of their job.
GRACE_SECONDS = 20.0
# So many starts of a job wait for the owner of a run, after which somebody must have a look.
WAITING_STARTS = 4
# Why Slurm puts a job back by itself, whatever the job thinks of it.
PUT_BACK_BY_SLURM = (Failure.PREEMPTED, Failure.NODE_FAILURE)


@dataclass(frozen=True)
class Attempts:
    """What the tries of one job have in common.

    ``leases`` are given back when the job has decided about its runs. ``side_by_side`` of them
    train at once, with ``cpus`` each, ``None`` for all that there are. ``superseded`` is set when
    a later start of the job, whose node Slurm took for lost, asks for a run: it is to have all.
    """

    cluster: ClusterConfig
    job: Job | None
    signals: Signals
    leases: ExitStack
    side_by_side: int = 1
    cpus: int | None = None
    superseded: threading.Event = field(default_factory=threading.Event)

    def attempt(self, paths: RunPaths) -> AttemptOutcome:
        """Train the run unless it is finished; what goes wrong is said and in the outcome."""
        try:
            read_frozen_run(paths)
            if self.signals.asked is not None:
                return self._leave(paths, self.signals.asked)
            if self.superseded.is_set():
                return AttemptOutcome(paths, exit_codes.LEASE_HELD)
            lease = take_lease(paths, self.job, self.signals)
            self.leases.enter_context(lease)
            return self._attempt(paths, lease)
        except LeaseError as error:
            if self.signals.asked is not None:
                return self._leave(paths, self.signals.asked)
            return self._held(paths, error.owner)
        except UserError as error:
            return _said(AttemptOutcome(paths, exit_codes.USER_ERROR), str(error))
        except OSError as error:
            if not is_storage_failure(paths.folder, error):
                raise
            message = f"{paths.folder} cannot be written to ({error.strerror})"
            return _said(AttemptOutcome(paths, exit_codes.STORAGE_ERROR, Failure.STORAGE), message)

    def _held(self, paths: RunPaths, owner: LeaseOwner) -> AttemptOutcome:
        """Leave a run to its owner; a batch job comes back to see whether that got it done."""
        decision = None
        if self.job is not None and self.job.batch and not _is_ours(owner, self.job):
            starts = request_lease(paths.lease, self.job.id, self.job.restarts)
            action: Action = "requeue" if starts < WAITING_STARTS else "stop"
            decision = FailureDecision(
                action, f"{starts} of {WAITING_STARTS} starts have waited for it"
            )
        message = f"{paths.name} is being trained by {owner}"
        return _said(AttemptOutcome(paths, exit_codes.LEASE_HELD, decision=decision), message)

    def _leave(self, paths: RunPaths, asked: signal.Signals) -> AttemptOutcome:
        """Do nothing about a run of a job that was told to end before its turn came."""
        record = existing_record(paths)
        if record.status is Status.FINISHED:
            return AttemptOutcome(paths, 0)
        failure = classify(self._evidence(-asked))
        # It had no turn, so its tries before have no say.
        return AttemptOutcome(
            paths, 128 + asked, failure, by_policy(self.cluster.on_failure, failure)
        )

    def _attempt(self, paths: RunPaths, lease: Lease) -> AttemptOutcome:
        record = existing_record(paths)
        if record.status is Status.FINISHED:
            remove_checkpoints(paths)  # of a process that ended before it could
            logger.info(f"{paths.name} is finished already; leaving it as it is")
            return AttemptOutcome(paths, 0)
        if stopped := self._stopped(paths, record, lease):
            return stopped
        begin(paths, record, self.job)
        unfit = look(paths.folder, self.job) if self.cluster.check_node else None
        if unfit is not None:
            error = {"type": "Unfit", "message": unfit.message}
            code = (
                exit_codes.STORAGE_ERROR
                if unfit.failure is Failure.STORAGE
                else exit_codes.BAD_NODE
            )
            outcome = conclude(paths, code, unfit.failure, self.cluster, lease, error=error)
            return _said(outcome, unfit.message)
        return self._train(paths, lease)

    def _stopped(self, paths: RunPaths, record: RunRecord, lease: Lease) -> AttemptOutcome | None:
        """Leave a run that is not to go on, though Slurm has put the job back by itself."""
        last = record.attempts[-1] if record.attempts else None
        job = self.job
        if job is None or last is None or last.job_id != job.id or last.restarts >= job.restarts:
            return None
        said = Failure(last.failure) if last.failure else None
        failure = Failure.NODE_FAILURE if unseen(record) else said
        if last.requeued or failure not in PUT_BACK_BY_SLURM:
            return None
        decision = by_policy(self.cluster.on_failure, failure)
        if decision.action != "stop":
            return None
        if unseen(record):
            conclude(paths, -signal.SIGKILL, failure, self.cluster, lease, used={"ended": None})
        logger.info(f"{paths.name} is left as it is: {decision.why}")
        return AttemptOutcome(paths, 1, failure)

    def _train(self, paths: RunPaths, lease: Lease) -> AttemptOutcome:
        group = memory_group()
        kills = oom_kills(group)
        name = f"{now()} on {node_name(self.job)}, job {self.job.id if self.job else None}"
        with Log(paths, name) as log, GpuUse(bool(self.job and self.job.gpus)) as gpu_use:
            label = paths.name if self.side_by_side > 1 else None
            child = Child(paths, self._environment(), label=label)
            self.signals.watch(child)
            try:
                code = child.follow(log, lambda: self._look_at(lease, child))
            finally:
                child.end(0)
                self.signals.forget(child)
        if lease.lost:
            message = f"the lease of {paths.name} was lost; nothing more is written to it"
            return _said(AttemptOutcome(paths, exit_codes.LEASE_HELD), message)
        record = existing_record(paths)
        used = process_usage(child.rusage) | {"gpu_use": gpu_use.mean}
        if record.status is Status.FINISHED:  # which is written last: however it ended after that
            write_record(paths, ended_attempt(paths, record, None, **used))
            remove_checkpoints(paths)
            return AttemptOutcome(paths, 0)
        if self.superseded.is_set():
            message = f"a later start of job {self.job.id if self.job else None} asks for it"
            return _said(
                AttemptOutcome(paths, exit_codes.LEASE_HELD), f"{paths.name} is left: {message}"
            )
        said = record.failure if record.status is Status.FAILED else None
        evidence = self._evidence(
            code,
            said=Failure(said) if said else None,
            last_words=child.last_words,
            oom_kills=oom_kills(group) - kills,
        )
        if evidence.asked is None and said:
            error = record.error
        else:
            error, code = None, -(evidence.asked or told_to_end(code) or -code)
        failure = classify(evidence)
        return conclude(paths, code, failure, self.cluster, lease, error=error, used=used)

    def _look_at(self, lease: Lease, child: Child) -> None:
        """End the child where the run is, or is to be, somebody else's."""
        if lease.requested:
            self.superseded.set()
        if lease.lost:
            child.end(0)
        elif self.superseded.is_set():
            child.end(GRACE_SECONDS)

    def _evidence(self, code: int, **known: Any) -> ExitEvidence:
        job = self.job
        state = None
        if self.signals.asked is not None:
            state = self._state_when_asked
        elif job and known.get("said") is None and told_to_end(code):
            state = job.state(KILL_WAIT)
        return ExitEvidence(
            code,
            asked=self.signals.asked,
            in_job=job is not None,
            job=state,
            restarts=job.restarts if job else 0,
            notice=self.cluster.signal_time,
            **known,
        )

    @functools.cached_property
    def _state_when_asked(self) -> JobState | None:
        """What Slurm said of the job as the first run of it ended by a signal."""
        return self.job.state(self.signals.patience) if self.job else None

    def _environment(self) -> dict[str, str]:
        bar = self.side_by_side == 1 and sys.stdout.isatty()
        environment = {"XRAY_HPC_BAR": str(int(bar))}
        if self.cpus is not None:
            environment["XRAY_HPC_CPUS"] = str(self.cpus)
        gpus = self.job.gpus if self.job else None
        # With none it is to use none: a node may show a job those of others.
        if gpus == 0 or (gpus and self.cluster.check_node and counts_gpus()):
            environment["XRAY_HPC_GPUS"] = str(gpus)
        return environment


def take_lease(paths: RunPaths, job: Job | None, signals: Signals) -> Lease:
    """Take the run's lease. A batch job waits a while for the owner to end; others do not.

    An earlier start of the same job, which lives on though Slurm has lost its node, is told to.

    Raises:
        LeaseError: somebody else is training it.
    """
    end = time.monotonic() + (PATIENCE_SECONDS if job is not None and job.batch else 0)
    said = False
    while True:
        try:
            return Lease.acquire(
                paths.lease,
                job=job.id if job else None,
                restarts=job.restarts if job else 0,
                should_stop=lambda: signals.asked is not None,
            )
        except LeaseError as error:
            if time.monotonic() >= end or signals.asked is not None:
                raise
            if job is not None and not said:
                logger.info(f"{paths.name} is held by {error.owner}; waiting for it")
                if error.owner.job == job.id and not _is_ours(error.owner, job):
                    request_lease(paths.lease, job.id, job.restarts)
            said = True
        time.sleep(1)


def _is_ours(owner: LeaseOwner, job: Job) -> bool:
    """Whether the owner is of this start of the job, or of a later one."""
    return owner.job == job.id and owner.restarts >= job.restarts


def _said(outcome: AttemptOutcome, message: str) -> AttemptOutcome:
    logger.error(message)
    return outcome
