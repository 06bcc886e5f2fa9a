"""The state of a run, judged in one place for launches, status and reports.

A killed process could not record its end, and a queued one has written nothing yet; so the run's
lease and Slurm's queue count too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from xray_hpc.errors import RecordError
from xray_hpc.monitoring.terminal_table import shorten
from xray_hpc.records.lease_file import LeaseOwner, current_owner
from xray_hpc.records.ledger import JobRef, Ledger
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.records.run_integrity import find_damage
from xray_hpc.records.run_metrics import RunMetrics, read_metrics
from xray_hpc.records.run_record import Failure, RunRecord, Status, read_record
from xray_hpc.slurm.client import QueuedJob
from xray_hpc.system_errors import advice

# States of a job that has not started or was requeued.
PENDING_STATES = frozenset(
    ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT")
)
COMPLETING = "COMPLETING"  # Slurm is cleaning up the processes of a job that ended


class State(str, Enum):
    """State of a run.

    ``missing`` runs are planned, but have no record. ``lost`` runs are running according to their
    record, but have neither a live process nor a job. The record of a ``damaged`` run, or a file
    that a finished run needs, is missing or invalid; that of an ``unreadable`` run cannot be read,
    for want of permission or because it is not a regular file.
    """

    MISSING = "missing"
    CREATED = "created"
    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    LOST = "lost"
    DAMAGED = "damaged"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class RunEvidence:
    """What the state of a run is judged by."""

    record: RunRecord | None  # None if it has none, or an unusable one
    damage: str | None = None  # why the record, or a file of a finished run, is unusable
    unreadable: bool = False  # whether that is because the file system refuses it
    metrics: RunMetrics | None = None  # its metrics, if it is finished and undamaged
    owner: LeaseOwner | None = None  # live process that holds its lease
    job: str | None = None  # id of its job in the queue
    queued: QueuedJob | None = None
    cancelled: int | None = None  # position in the ledger at which it was last cancelled

    def with_queue(self, job: JobRef | None, queue: Mapping[str, QueuedJob]) -> RunEvidence:
        """Return a copy with the run's job in the queue.

        A job counts only if the queue has it under the same id and from the same submission: jobs
        of another cluster, or from before a reset of Slurm, can have the same id. The record may
        name another job than ``job``, the latest of a launch: one of a template script.
        """
        known: list[tuple[str, str | None]] = [] if job is None else [(job.id, job.submission)]
        own = self.record.job_id if self.record else None
        if own is not None and (job is None or own != job.id):
            known.append((own, None))
        for name, submission in known:
            if name in queue and queue[name].submission == submission:
                return dataclasses.replace(self, job=name, queued=queue[name])
        return dataclasses.replace(self, job=None, queued=None) if self.queued else self

    @property
    def live(self) -> bool:
        """Whether a process or a job is working on the run, or will."""
        return self.owner is not None or self.queued is not None

    @property
    def cancelled_since(self) -> bool:
        """Whether the run was cancelled and has not started since."""
        if self.record is not None and self.record.failure == Failure.CANCELLED.value:
            return True
        return self.cancelled is not None and self.started_at <= self.cancelled

    @property
    def started_at(self) -> int:
        """The position in the ledger at which the last attempt started; -1 without one."""
        attempts = self.record.attempts if self.record else ()
        return attempts[-1].ledger_position if attempts else -1

    @property
    def job_has_started(self) -> bool:
        """Whether the record is from the current start of the queued job, not an earlier one."""
        if self.record is None or self.record.job_id != self.job:
            return False
        return not (self.record.attempts and self.record.attempts[-1].requeued)


STATE_OF_STATUS = {
    Status.CREATED: State.CREATED,
    Status.RUNNING: State.LOST,
    Status.FINISHED: State.FINISHED,
    Status.FAILED: State.FAILED,
    Status.INTERRUPTED: State.INTERRUPTED,
}


def state_of(evidence: RunEvidence) -> State:
    """Judge the state of a run: live processes count first, then the queue, then the record."""
    record, queued = evidence.record, evidence.queued
    status = record.status if record else None
    if status is Status.FINISHED and evidence.damage is None:
        return State.FINISHED
    if evidence.owner is not None:
        return State.RUNNING
    if queued is not None and not (evidence.cancelled_since and queued.state == COMPLETING):
        started = evidence.job_has_started and status is not Status.CREATED
        if queued.state in PENDING_STATES or not started:
            return State.PENDING
        if status is Status.RUNNING:
            return State.RUNNING
    if evidence.damage is not None:
        return State.UNREADABLE if evidence.unreadable else State.DAMAGED
    if evidence.cancelled_since:
        return State.CANCELLED
    return State.MISSING if record is None else STATE_OF_STATUS[record.status]


def read_evidence(
    paths: RunPaths,
    job: JobRef | None = None,
    queue: Mapping[str, QueuedJob] | None = None,
    cancelled: int | None = None,
    *,
    whole: bool = False,
) -> RunEvidence:
    """Read the record, files and lease of a run, given what the ledger and Slurm tell of it.

    ``whole`` compares the contents of all files with their checksums, not only their times.
    """
    record, metrics, owner, damage, unreadable = None, None, None, None, False
    try:
        record = read_record(paths)
        if record is not None and record.run != paths.name:
            damage = f"run.json is the record of '{record.run}'; this folder is a copy"
            record = None
        elif record is not None:
            damage = find_damage(paths, record, whole=whole)
            if record.status is Status.FINISHED and damage is None:
                metrics = read_metrics(paths)
    except RecordError as error:
        damage = error.summary
    except OSError as error:
        damage, unreadable = describe_os_error(error, paths), True
    try:
        owner = current_owner(paths.lease) if metrics is None else None
    except OSError as error:
        damage, unreadable = damage or describe_os_error(error, paths), True
    evidence = RunEvidence(record, damage, unreadable, metrics, owner, cancelled=cancelled)
    return evidence.with_queue(job, queue or {})


def describe_os_error(error: OSError, paths: RunPaths) -> str:
    """Return which file of a run cannot be read, why, and what to do.

    Such as ``unreadable: run.json (a FIFO, not a regular file); remove or move it``.
    """
    name = str(error.filename or paths.folder).replace(f"{paths.folder}/", "")
    return f"unreadable: {name} ({error.strerror}); {advice(error)}"


def read_runs(
    sweep: SweepPaths,
    names: Iterable[str],
    entries: Ledger,
    queue: Mapping[str, QueuedJob] | None = None,
) -> dict[str, RunEvidence]:
    """Read runs of a sweep, by name; ``entries`` is the content of its ledger."""
    jobs, cancelled = entries.jobs(), entries.cancelled
    return {
        name: read_evidence(sweep.run(name), jobs.get(name), queue, cancelled.get(name))
        for name in names
    }


@dataclass(frozen=True)
class LaunchDecision:
    """Whether a launch starts a run, and why."""

    run: bool
    reason: str
    blocked: bool = False  # whether it needs manual repair before it can start


def decide_launch(evidence: RunEvidence) -> LaunchDecision:
    """Decide whether a launch starts a run: not if it is finished or live."""
    state, queued, owner = state_of(evidence), evidence.queued, evidence.owner
    if state is State.FINISHED:
        return LaunchDecision(False, "finished")
    if queued is not None:
        reason = f" ({queued.reason})" if queued.state == "PENDING" else ""
        return LaunchDecision(False, f"{queued.state.lower()} as job {evidence.job}{reason}")
    if owner is not None:
        return LaunchDecision(False, f"running on {owner.node or owner.host}")
    if state is State.UNREADABLE:
        return LaunchDecision(False, evidence.damage or "", blocked=True)
    reasons = {
        State.MISSING: "new",
        State.CREATED: "never started",
        State.FAILED: f"failed before: {shorten(failure_message(evidence.record), 90)}",
        State.CANCELLED: "cancelled before",
        State.INTERRUPTED: "interrupted before",
        State.LOST: "interrupted before",
        State.DAMAGED: evidence.damage or "",
    }
    return LaunchDecision(True, reasons[state])


def failure_message(record: RunRecord | None) -> str:
    """Return the error of a failed run in one line, ``ValueError: bad crop`` for a bug."""
    return record.error.explain(record.failure) if record and record.error else "unknown error"
