"""The status of sweeps and their runs, from files and at most one query of Slurm's queue."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xray_hpc.errors import StorageError
from xray_hpc.monitoring.discovery import run_names
from xray_hpc.monitoring.gpu_hours import gpu_hours
from xray_hpc.monitoring.log_files import tail
from xray_hpc.monitoring.run_state import PENDING_STATES, RunEvidence, State, read_runs, state_of
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import storage_errors
from xray_hpc.records.ledger import Ledger
from xray_hpc.records.paths import EXIT_CODE, UNRECORDED_END, RunPaths, SweepPaths
from xray_hpc.records.run_flags import Flag, describe_flags
from xray_hpc.records.run_progress import read_feature_blocks, read_progress
from xray_hpc.records.run_record import Attempt, RunRecord, now
from xray_hpc.regular_file import read_regular
from xray_hpc.slurm import sacct
from xray_hpc.slurm.cached_queue import CachedQueue
from xray_hpc.slurm.client import QueuedJob
from xray_hpc.slurm.units import parse_seconds

TEXT_BYTES = 1 << 16  # of the reason of an end, or an exit code
OUTPUT_LINES = 100  # at the end of a job's output, which a line that explains the end is among
COMPUTING_FEATURES = "computing cached features, or waiting for them"


@dataclass(frozen=True)
class RunStatus:
    """Status of a run; unknown values are ``None``."""

    sweep: str
    run: str
    state: State
    reason: str = ""  # why it is pending, has no epoch yet, or ended
    held: bool = False  # whether somebody must release its job
    job: str | None = None  # the latest
    node: str | None = None  # or host
    epoch: int | None = None  # number of completed epochs
    epochs: int | None = None  # number of epochs to train
    val_accuracy: float | None = None  # at the best epoch so far, as val_auc
    val_auc: float | None = None
    seconds_left: float | None = None  # until the end of training or the job's time limit
    limited: bool = False  # whether the time limit comes first
    restarts: int = 0  # number of attempts before the last one
    failure: str | None = None  # why the last attempt ended early, a value of Failure
    flags: list[Flag] = field(default_factory=list)  # of a finished run
    overrides: list[str] = field(default_factory=list)  # those that not all runs share


@dataclass(frozen=True)
class SweepStatus:
    """Status of a sweep."""

    sweep: SweepPaths
    runs: list[RunStatus]  # in launch order
    gpu_hours: float  # of all attempts so far
    touched: float  # timestamp of the last change
    failed_features_job: Path | None = None  # folder of the latest features job, if it failed
    problem: str = ""  # why its runs or jobs are not all known


class SweepMonitor:
    """Reads the status of sweeps repeatedly; remembers the queue and final job states."""

    def __init__(self) -> None:
        self.queue = CachedQueue()
        self._final_states: dict[str, str | None] = {}

    def read_status(self, sweeps: Iterable[SweepPaths]) -> list[SweepStatus]:
        """Return the current status of the sweeps."""
        readers = [_SweepReader(sweep) for sweep in sweeps]
        if queued := [reader for reader in readers if reader.may_be_queued()]:
            self.queue.refresh({user for reader in queued for user in reader.ledger.users()})
        for reader in readers:
            reader.update_from_queue(self.queue.jobs)
        ended = {job for reader in readers for job in reader.lost_jobs().values()}
        if new := ended - set(self._final_states):
            self._final_states |= dict.fromkeys(new) | sacct.final_states(new)
        return [reader.status(self._final_states) for reader in readers]


class _SweepReader:
    """Reads the runs of one sweep."""

    def __init__(self, sweep: SweepPaths) -> None:
        self.sweep = sweep
        self.queue_known = False
        self.problem = ""
        self.ledger, names = Ledger({}, {}, [], {}), list[str]()
        try:
            with storage_errors(sweep.folder):
                self.ledger = ledger.read(sweep)
                names = list(self.ledger.planned)
                names = run_names(sweep, self.ledger)
        except StorageError as error:
            self.problem = str(error)
        self.jobs = self.ledger.jobs()
        self.runs = read_runs(sweep, names, self.ledger)

    def _latest_job(self, name: str) -> str | None:
        """Return the latest known job of a run, in the queue or not."""
        if job := self.jobs.get(name):
            return job.id
        record = self.runs[name].record
        return record.job_id if record else None

    def may_be_queued(self) -> bool:
        """Return whether an unfinished run has a job."""
        return any(
            state_of(evidence) is not State.FINISHED and self._latest_job(name)
            for name, evidence in self.runs.items()
        )

    def update_from_queue(self, queue: Mapping[str, QueuedJob] | None) -> None:
        """Add the jobs in the queue to the evidence; ``None`` if the queue is unknown."""
        self.queue_known = queue is not None
        for name, evidence in self.runs.items():
            self.runs[name] = evidence.with_queue(self.jobs.get(name), queue or {})

    def lost_jobs(self) -> dict[str, str]:
        """Return the jobs that left the queue without a recorded end, by run."""
        runs = self.runs.items() if self.queue_known else ()
        lost = [name for name, item in runs if state_of(item) in (State.LOST, State.CREATED)]
        return {name: job for name in lost if (job := self._latest_job(name)) is not None}

    def status(self, final_states: Mapping[str, str | None]) -> SweepStatus:
        """Return the status of the sweep, given the final states of lost jobs."""
        overrides, lost = self._distinct_overrides(), self.lost_jobs()
        waiting, runs = set(self.ledger.waiting), []
        for name, evidence in self.runs.items():
            run = _run_status(self.sweep.run(name), evidence, overrides[name])
            if job := lost.get(name):
                state = final_states.get(job)
                end = self._unrecorded_end(name)
                reason = end or f"job {job} is gone"
                reason = f"{state}: {reason}" if state else reason
                known = State.FAILED if end and run.state is State.CREATED else run.state
                run = dataclasses.replace(run, reason=reason, state=known)
            elif run.state is State.CREATED and name in waiting:
                run = dataclasses.replace(run, reason="waits for Slurm to accept more jobs")
            runs.append(run)
        hours, touched = gpu_hours(self._attempts()), self._last_change()
        failed = self._failed_features_job()
        return SweepStatus(self.sweep, runs, hours, touched, failed, self.problem)

    def _unrecorded_end(self, name: str) -> str | None:
        """Return why the job of a run ended, if Python did not start there to record it.

        With the last line that the job printed before that: the message of the shell.
        """
        job = self.jobs.get(name)
        if job is None:
            return None
        task = job.id.partition("_")[2] or "0"
        folder = self.sweep.slurm / job.submission
        try:
            end = _read_text(folder / f"{UNRECORDED_END}.{task}")
            output = b"".join(tail(file, OUTPUT_LINES) for file in folder.glob(f"{job.id}_*"))
        except OSError:
            return None
        before, found, _ = output.decode("utf-8", "replace").rpartition(f"error: {end}")
        lines = before.split("\n") if found else []
        message = next((line.strip() for line in reversed(lines) if line.strip()), None)
        return f"{end}: {message}" if message else end

    def _failed_features_job(self) -> Path | None:
        sent = [one.name for one in self.ledger.submissions.values() if one.kind == "features"]
        if not sent:
            return None
        folder = self.sweep.slurm / sent[-1]
        try:
            code = _read_text(folder / EXIT_CODE)
        except OSError:  # the job has not ended
            return None
        return None if code == "0" else folder

    def _attempts(self) -> Iterator[Attempt]:
        """Yield the attempts of known duration: those that ended, and running ones until now."""
        for evidence in self.runs.values():
            for attempt in evidence.record.attempts if evidence.record else ():
                if attempt.ended is not None:
                    yield attempt
                elif state_of(evidence) is State.RUNNING:
                    yield dataclasses.replace(attempt, ended=now())

    def _distinct_overrides(self) -> dict[str, list[str]]:
        words = {
            name: self.ledger.planned.get(name)
            or (evidence.record.overrides if evidence.record else [])
            for name, evidence in self.runs.items()
        }
        common = set.intersection(*map(set, words.values())) if words else set()
        return {name: [word for word in own if word not in common] for name, own in words.items()}

    def _last_change(self) -> float:
        # Files are written by renaming, which changes the time of their folder too.
        times = [0.0]
        for path in (self.sweep.ledger, *(self.sweep.run(name).folder for name in self.runs)):
            with contextlib.suppress(OSError):
                times.append(path.stat().st_mtime)
        return max(times)


def _read_text(path: Path) -> str:
    """Return the text of a short file; raise ``OSError`` if there is no such file."""
    return read_regular(path, TEXT_BYTES).decode(errors="replace").strip()


def _run_status(paths: RunPaths, evidence: RunEvidence, overrides: list[str]) -> RunStatus:
    record, queued, state = evidence.record, evidence.queued, state_of(evidence)
    fields: dict[str, Any] = {"reason": _reason(evidence, state), "overrides": overrides}
    if record is not None:
        fields |= {
            "held": queued is not None and _held(queued),
            "job": evidence.job or record.job_id,
            "node": _node(evidence, state),
            "epochs": record.epochs,
            "restarts": record.restarts,
            "failure": record.failure,
        }
        if (metrics := evidence.metrics) is not None:
            best = metrics.validation
            fields |= {"epoch": metrics.epochs, "val_accuracy": best.accuracy, "val_auc": best.auc}
            fields |= {"flags": metrics.flags, "reason": describe_flags(metrics.flags)}
        else:
            fields |= _progress_fields(paths, state, queued)
    return RunStatus(paths.folder.parent.parent.name, paths.name, state, **fields)


def _progress_fields(paths: RunPaths, state: State, queued: QueuedJob | None) -> dict[str, Any]:
    progress = read_progress(paths)
    if progress is None:
        blocks = read_feature_blocks(paths) if state is State.RUNNING else None
        return {} if blocks is None else {"reason": f"{COMPUTING_FEATURES}, {blocks} blocks"}
    left, limit = None, None
    if state is State.RUNNING and progress.done < progress.epochs:
        left = progress.seconds_per_epoch * (progress.epochs - progress.done)
        limit = parse_seconds(queued.time_left) if queued else None
    limited = left is not None and limit is not None and limit < left
    return {
        "epoch": progress.done,
        "epochs": progress.epochs,
        "val_accuracy": progress.val_accuracy,
        "val_auc": progress.val_auc,
        "seconds_left": limit if limited else left,
        "limited": limited,
    }


def _reason(evidence: RunEvidence, state: State) -> str:
    if state is State.PENDING and evidence.queued is not None:
        return _pending_reason(evidence.queued, evidence.record)
    if state in (State.FAILED, State.INTERRUPTED) and evidence.record and evidence.record.error:
        failure = evidence.record.failure
        error = evidence.record.error.explain(failure)
        return error if failure in (None, "bug") else f"{failure.replace('_', ' ')}: {error}"
    return (evidence.damage or "") if state in (State.DAMAGED, State.UNREADABLE) else ""


def _held(queued: QueuedJob) -> bool:
    """Return whether somebody must release the job (``JobHeldUser``, ``... requeued held``)."""
    return queued.state in PENDING_STATES and (
        queued.state == "REQUEUE_HOLD" or "held" in queued.reason.lower()
    )


def _pending_reason(queued: QueuedJob, record: RunRecord | None) -> str:
    """Return why a run is pending: Slurm's reason, and what ended its previous attempt."""
    if queued.state == "PENDING":
        reason = "" if queued.reason == "None" else queued.reason
    else:
        reason = queued.state.lower() if queued.state in PENDING_STATES else "job started"
    requeued = record is not None and record.attempts and record.attempts[-1].requeued
    if not requeued or record is None or record.failure is None:
        return reason
    return f"{reason}, after {record.failure.replace('_', ' ')}".lstrip(", ")


def _node(evidence: RunEvidence, state: State) -> str | None:
    if state is State.RUNNING and evidence.owner is not None:
        return evidence.owner.node or evidence.owner.host
    if state is State.PENDING or evidence.record is None:
        return None
    return evidence.record.node
