"""How a run stands: said in one place, for launches, for status and for reports.

A run's record says what its own processes knew. A process that was killed knew nothing of it, and
one that waits has not spoken yet; so the run's lease and Slurm's queue are heard too.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from xray_hpc.errors import UserError
from xray_hpc.records.lease_file import LeaseOwner, current_owner
from xray_hpc.records.ledger import JobRef
from xray_hpc.records.paths import SPLITS, RunPaths
from xray_hpc.records.run_metrics import RunMetrics, read_metrics
from xray_hpc.records.run_record import Failure, RunRecord, Status, read_record
from xray_hpc.slurm.client import QueuedJob

# Slurm's words for a job that has not started, or is back in the queue.
PENDING_STATES = frozenset(
    ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT")
)
COMPLETING = "COMPLETING"  # the processes of a job that ended are being cleared away


class State(str, Enum):
    """How a run stands.

    ``missing``: planned, but without a record; ``lost``: its record says running, but nothing
    shows that it lives; ``damaged``: its record, or a file that a finished run has, makes no sense.
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


@dataclass(frozen=True)
class RunEvidence:
    """All that tells how a run stands.

    ``damage`` is what is wrong with the record or with the files of a finished run. ``owner``
    holds the run's lease. ``job`` is the id of a job in the queue that is this run's, and
    ``queued`` what the queue says of it. ``cancelled`` is when somebody last cancelled the run.
    """

    record: RunRecord | None
    damage: str | None = None
    metrics: RunMetrics | None = None
    owner: LeaseOwner | None = None
    job: str | None = None
    queued: QueuedJob | None = None
    cancelled: str | None = None

    def with_queue(self, job: JobRef | None, queue: Mapping[str, QueuedJob]) -> RunEvidence:
        """The same, and what the queue says.

        ``job`` is the newest that a launch submitted for the run; the record may name another, of
        a template. What the queue has under the same id counts only if it was submitted so: ids of
        another cluster, or of one that was set up anew, are other jobs.
        """
        known: list[tuple[str, str | None]] = [] if job is None else [(job.id, job.submission)]
        own = self.record.job_id if self.record else None
        if own is not None and (job is None or own != job.id):
            known.append((own, None))
        for name, submission in known:
            if name in queue and queue[name].submission == submission:
                return dataclasses.replace(self, job=name, queued=queue[name])
        return dataclasses.replace(self, job=None, queued=None)

    @property
    def live(self) -> bool:
        """Whether somebody works on the run or is going to."""
        return self.owner is not None or self.queued is not None

    @property
    def cancelled_since(self) -> bool:
        """Whether the run was cancelled and not started again since then."""
        if self.record is None:
            return self.cancelled is not None
        if self.record.failure == Failure.CANCELLED.value:
            return True
        return self.cancelled is not None and (self.record.started or "") <= self.cancelled

    @property
    def spoken(self) -> bool:
        """Whether the record is about the job in the queue, and not about one before it."""
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


def state_of(seen: RunEvidence) -> State:
    """The state of a run: what lives counts first, what was said last."""
    record, status = seen.record, seen.record.status if seen.record else None
    if status is Status.FINISHED and seen.damage is None:
        return State.FINISHED
    if seen.owner is not None:
        return State.RUNNING
    if seen.queued is not None and not (seen.cancelled_since and seen.queued.state == COMPLETING):
        if seen.queued.state in PENDING_STATES or not seen.spoken or status is Status.CREATED:
            return State.PENDING
        if status is Status.RUNNING:
            return State.RUNNING
    if seen.damage is not None:
        return State.DAMAGED
    if seen.cancelled_since:
        return State.CANCELLED
    return State.MISSING if record is None else STATE_OF_STATUS[record.status]


def read_evidence(paths: RunPaths, cancelled: str | None = None) -> RunEvidence:
    """Look at a run's record, files and lease; ``cancelled`` is of its ledger."""
    record, metrics, damage = None, None, None
    try:
        record = read_record(paths)
        if record is not None and record.status is Status.FINISHED:
            damage = find_missing_file(paths, record.model)
            metrics = None if damage else read_metrics(paths)
    except UserError:
        name = (paths.metrics if record else paths.record).name
        damage = f"its {name} is damaged"
    owner = current_owner(paths.lease) if metrics is None else None
    return RunEvidence(record, damage, metrics, owner, cancelled=cancelled)


def gather_evidence(
    paths: RunPaths,
    job: JobRef | None = None,
    queue: Mapping[str, QueuedJob] | None = None,
    cancelled: str | None = None,
) -> RunEvidence:
    """Look at a run and hear the queue, where it was asked; see :meth:`RunEvidence.with_queue`."""
    return read_evidence(paths, cancelled).with_queue(job, queue or {})


@dataclass(frozen=True)
class LaunchDecision:
    """Whether to run a run, and the reason in a few words."""

    run: bool
    reason: str


def decide_launch(
    paths: RunPaths,
    job: JobRef | None,
    queue: Mapping[str, QueuedJob],
    cancelled: str | None = None,
) -> LaunchDecision:
    """Decide whether a launch runs a run; ``job`` and ``cancelled`` are of its ledger."""
    return launch_decision(gather_evidence(paths, job, queue, cancelled))


def launch_decision(seen: RunEvidence) -> LaunchDecision:
    """Leave what is finished or lives; run the rest."""
    state = state_of(seen)
    if state is State.FINISHED:
        return LaunchDecision(False, "finished")
    if seen.queued is not None:
        waiting = f" ({seen.queued.reason})" if seen.queued.state == "PENDING" else ""
        return LaunchDecision(False, f"{seen.queued.state.lower()} as job {seen.job}{waiting}")
    if seen.owner is not None:
        return LaunchDecision(False, f"running on {seen.owner.node or seen.owner.host}")
    words = {
        State.MISSING: "new",
        State.CREATED: "never ran",
        State.FAILED: f"again; it failed: {failure_message(seen.record)[:90]}",
        State.CANCELLED: "again; it was cancelled",
        State.INTERRUPTED: "again; it was interrupted",
        State.LOST: "again; it was interrupted",
        State.DAMAGED: f"again; {seen.damage}",
    }
    return LaunchDecision(True, words[state])


def failure_message(record: RunRecord | None) -> str:
    """Why a run failed: ``ValueError: bad crop``."""
    error = (record.error if record else None) or {}
    message = " ".join(str(error.get("message", "unknown")).split())
    return f"{error.get('type', 'Error')}: {message}"


def find_missing_file(paths: RunPaths, model: str) -> str | None:
    """Return which of the files that a report needs a finished run lacks, if any."""
    needed = [paths.accuracy(model), paths.loss(model), paths.auc(model)]
    needed += [table(model, split) for split in SPLITS for table in (paths.scores, paths.roc)]
    needed.append(paths.metrics)
    there = set(os.listdir(paths.folder))  # one question to a file system that may be far away
    return next((f"{path.name} is missing" for path in needed if path.name not in there), None)
