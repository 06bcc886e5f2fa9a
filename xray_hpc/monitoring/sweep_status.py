"""Sweeps as they stand now, from files and at most one question to Slurm's queue."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xray_hpc.monitoring.discovery import run_names
from xray_hpc.monitoring.gpu_hours import gpu_hours
from xray_hpc.monitoring.run_state import (
    PENDING_STATES,
    RunEvidence,
    State,
    failure_message,
    read_evidence,
    state_of,
)
from xray_hpc.records import ledger
from xray_hpc.records.paths import EXIT_CODE, RunPaths, SweepPaths
from xray_hpc.records.run_progress import read_feature_blocks, read_progress
from xray_hpc.records.run_record import Attempt, RunRecord, now
from xray_hpc.slurm import sacct
from xray_hpc.slurm.cached_queue import CachedQueue
from xray_hpc.slurm.client import QueuedJob
from xray_hpc.slurm.units import parse_seconds

COMPUTING_FEATURES = "computing its cached features, or waiting for them"


@dataclass(frozen=True)
class RunStatus:
    """A run as it stands; what is not known is ``None``.

    ``reason`` is why it waits, or has no epoch yet, or what ended it; ``held``: it waits until
    somebody releases its job. ``epoch`` of ``epochs`` are done; ``val_accuracy`` and ``val_auc``
    are those of the best epoch so far. ``seconds_left`` is an estimate of its
    training, or, where ``limited``, the time until its job's limit, which comes first.
    ``overrides`` are those that not all runs of the sweep share.
    """

    sweep: str
    run: str
    state: State
    reason: str = ""
    held: bool = False
    job: str | None = None
    node: str | None = None
    epoch: int | None = None
    epochs: int | None = None
    val_accuracy: float | None = None
    val_auc: float | None = None
    seconds_left: float | None = None
    limited: bool = False
    restarts: int = 0
    overrides: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class SweepStatus:
    """A sweep as it stands; ``touched`` is the time stamp of its last change.

    ``failed_features_job`` is the folder of the newest submission of a features job, where that
    failed.
    """

    sweep: SweepPaths
    runs: list[RunStatus]
    gpu_hours: float
    touched: float
    failed_features_job: Path | None = None


class SweepMonitor:
    """Looks at sweeps again and again."""

    def __init__(self) -> None:
        self.queue = CachedQueue()
        self._final_states: dict[str, str | None] = {}

    def read_status(self, sweeps: Iterable[SweepPaths]) -> list[SweepStatus]:
        """The sweeps as they stand now."""
        seen = [_Seen(sweep) for sweep in sweeps]
        if asking := [one for one in seen if one.asks_slurm()]:
            self.queue.refresh({user for one in asking for user in one.told.users()})
        for one in seen:
            one.hear(self.queue.jobs)
        gone = {job for one in seen for job in one.gone().values()} - set(self._final_states)
        if gone:
            self._final_states |= dict.fromkeys(gone) | sacct.final_states(gone)
        return [one.watched(self._final_states) for one in seen]


class _Seen:
    """What was seen of a sweep's runs."""

    def __init__(self, sweep: SweepPaths) -> None:
        self.sweep = sweep
        self.queue_known = False
        self.told = ledger.read(sweep)
        self.jobs = self.told.jobs()
        self.waiting = set(self.told.waiting)
        names = run_names(sweep, self.told)
        self.runs = {
            name: read_evidence(sweep.run(name), self.told.cancelled.get(name)) for name in names
        }

    def _job(self, name: str) -> str | None:
        """The newest job of a run that is known, in the queue or not."""
        if job := self.jobs.get(name):
            return job.id
        record = self.runs[name].record
        return record.job_id if record else None

    def asks_slurm(self) -> bool:
        """Whether the queue can tell anything about these runs."""
        unfinished = (n for n, seen in self.runs.items() if state_of(seen) is not State.FINISHED)
        return any(self._job(name) for name in unfinished)

    def hear(self, queue: Mapping[str, QueuedJob] | None) -> None:
        self.queue_known = queue is not None
        for name, seen in self.runs.items():
            self.runs[name] = seen.with_queue(self.jobs.get(name), queue or {})

    def gone(self) -> dict[str, str]:
        """Jobs that are gone and left their runs without a word, by run."""
        if not self.queue_known:
            return {}
        unexplained = (State.LOST, State.CREATED)
        left = {n: self._job(n) for n, seen in self.runs.items() if state_of(seen) in unexplained}
        return {name: job for name, job in left.items() if job is not None}

    def watched(self, final_states: Mapping[str, str | None]) -> SweepStatus:
        own, gone = self._own_overrides(), self.gone()
        runs = []
        for name, seen in self.runs.items():
            run = _watch(self.sweep.run(name), seen, own[name])
            if name in gone:
                final_state = final_states.get(gone[name])
                reason = (f"{final_state}: " if final_state else "") + f"job {gone[name]} is gone"
                run = dataclasses.replace(run, reason=reason)
            elif run.state is State.CREATED and name in self.waiting:
                run = dataclasses.replace(run, reason="waits for room in Slurm's queue")
            runs.append(run)
        hours, touched = gpu_hours(self._attempts()), self._touched()
        return SweepStatus(self.sweep, runs, hours, touched, self._failed_features_job())

    def _failed_features_job(self) -> Path | None:
        sent = [one.name for one in self.told.submissions.values() if one.kind == "features"]
        if not sent:
            return None
        folder = self.sweep.slurm / sent[-1]
        try:
            code = (folder / EXIT_CODE).read_text(encoding="utf-8").strip()
        except OSError:  # it has not ended
            return None
        return None if code == "0" else folder

    def _attempts(self) -> Iterator[Attempt]:
        """The tries whose time is known: those that ended, and those that go on."""
        for seen in self.runs.values():
            for one in seen.record.attempts if seen.record else ():
                if one.ended is not None:
                    yield one
                elif state_of(seen) is State.RUNNING:
                    yield dataclasses.replace(one, ended=now())

    def _own_overrides(self) -> dict[str, list[str]]:
        words = {
            name: self.told.planned.get(name) or (seen.record.overrides if seen.record else [])
            for name, seen in self.runs.items()
        }
        common = set.intersection(*map(set, words.values())) if words else set()
        return {name: [word for word in own if word not in common] for name, own in words.items()}

    def _touched(self) -> float:
        # Files are put in their place by renaming them, which changes the folder's time too.
        times = [0.0]
        for path in (self.sweep.ledger, *(self.sweep.run(name).folder for name in self.runs)):
            try:
                times.append(path.stat().st_mtime)
            except FileNotFoundError:
                continue
        return max(times)


def _watch(paths: RunPaths, seen: RunEvidence, overrides: list[str]) -> RunStatus:
    record, state = seen.record, state_of(seen)
    run = RunStatus(paths.sweep.name, paths.name, state, _why(seen, state), overrides=overrides)
    if record is None:
        return run
    run = dataclasses.replace(
        run,
        held=seen.queued is not None and _held(seen.queued),
        job=seen.job or record.job_id,
        node=_node(seen, state),
        epochs=record.epochs,
        restarts=record.restarts,
    )
    if (metrics := seen.metrics) is not None:
        best = metrics.validation
        return dataclasses.replace(
            run, epoch=metrics.epochs, val_accuracy=best.accuracy, val_auc=best.auc
        )
    return _with_progress(run, paths, seen.queued)


def _with_progress(run: RunStatus, paths: RunPaths, queued: QueuedJob | None) -> RunStatus:
    progress = read_progress(paths)
    if progress is None:
        blocks = read_feature_blocks(paths) if run.state is State.RUNNING else None
        return (
            run
            if blocks is None
            else dataclasses.replace(run, reason=f"{COMPUTING_FEATURES}, {blocks} blocks")
        )
    left, limit = None, None
    if run.state is State.RUNNING and progress.done < progress.epochs:
        left = progress.seconds_per_epoch * (progress.epochs - progress.done)
        limit = parse_seconds(queued.time_left) if queued else None
    limited = left is not None and limit is not None and limit < left
    return dataclasses.replace(
        run,
        epoch=progress.done,
        epochs=progress.epochs,
        val_accuracy=progress.val_accuracy,
        val_auc=progress.val_auc,
        seconds_left=limit if limited else left,
        limited=limited,
    )


def _why(seen: RunEvidence, state: State) -> str:
    if state is State.PENDING and seen.queued is not None:
        return _waits(seen.queued, seen.record)
    if state in (State.FAILED, State.INTERRUPTED) and seen.record and seen.record.error:
        kind, said = seen.record.failure, failure_message(seen.record)
        if kind is None or kind == "bug":
            return said
        return f"{kind.replace('_', ' ')}: {said.partition(': ')[2]}"
    return (seen.damage or "") if state is State.DAMAGED else ""


def _held(queued: QueuedJob) -> bool:
    """Whether Slurm will not start the job by itself (``JobHeldUser``, ``... requeued held``)."""
    return queued.state in PENDING_STATES and (
        queued.state == "REQUEUE_HOLD" or "held" in queued.reason.lower()
    )


def _waits(queued: QueuedJob, record: RunRecord | None) -> str:
    """Why a run waits: Slurm's reason, and what ended its last try where it had one."""
    if queued.state == "PENDING":
        reason = "" if queued.reason == "None" else queued.reason
    else:
        reason = queued.state.lower() if queued.state in PENDING_STATES else "its job has begun"
    back = record is not None and record.attempts and record.attempts[-1].requeued
    if not back or record is None or record.failure is None:
        return reason
    return f"{reason}, after {record.failure.replace('_', ' ')}".lstrip(", ")


def _node(seen: RunEvidence, state: State) -> str | None:
    if state is State.RUNNING and seen.owner is not None:
        return seen.owner.node or seen.owner.host
    if state is State.PENDING or seen.record is None:
        return None
    return seen.record.node
