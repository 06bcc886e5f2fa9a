"""``run.json``: the status of a run and its attempts."""

from __future__ import annotations

import dataclasses
import os
import pwd
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from xray_hpc.config.schema import check
from xray_hpc.errors import DataError
from xray_hpc.records.json_record import read_json_record, write_json_record
from xray_hpc.records.paths import RunPaths


class Status(str, Enum):
    """Status of a run according to its own record."""

    CREATED = "created"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Failure(str, Enum):
    """Why an attempt ended before the run was finished."""

    OUT_OF_MEMORY = "out_of_memory"
    GPU_OUT_OF_MEMORY = "gpu_out_of_memory"
    TIME_LIMIT = "time_limit"
    PREEMPTED = "preempted"
    NODE_FAILURE = "node_failure"
    BAD_DATA = "bad_data"
    NAN_LOSS = "nan_loss"
    STORAGE = "storage"
    KILLED = "killed"
    BUG = "bug"
    CANCELLED = "cancelled"


def now() -> str:
    """Return the current time in UTC, ISO 8601 with seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def user_name() -> str:
    """Return the name of this process's user, or the number if it has no name (in a container)."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


@dataclass(frozen=True)
class Attempt:
    """One attempt at a run; unknown values are ``None``.

    Attributes:
        started: start time in UTC.
        node: node or host.
        job_id: Slurm job.
        queued: when Slurm queued or requeued the job, in UTC.
        ended: end time in UTC.
        failure: why it ended before the run was finished, a value of :class:`Failure`.
        requeued: whether the job requeued itself afterwards.
        epochs: number of completed epochs of the run at its end.
        checkpoint: where the next attempt can resume: completed epochs, and steps of the next.
        feature_blocks: number of blocks of the cached features at its end.
        gpus: number of GPUs.
        cpus: number of CPUs.
        memory: memory of the job, in MiB.
        time_limit: time limit of the job, in minutes.
        peak_memory: most memory in use at a time, in MiB.
        cpu_seconds: CPU time of the training process.
        gpu_use: mean utilization of the GPUs, in percent.
        restarts: how often Slurm had requeued the job at its start.
    """

    started: str
    node: str
    job_id: str | None = None
    queued: str | None = None
    ended: str | None = None
    failure: str | None = None
    requeued: bool = False
    epochs: int | None = None
    checkpoint: list[int] | None = None
    feature_blocks: int | None = None
    gpus: int = 0
    cpus: int | None = None
    memory: int | None = None
    time_limit: int | None = None
    peak_memory: int | None = None
    cpu_seconds: float | None = None
    gpu_use: float | None = None
    restarts: int = 0

    def __post_init__(self) -> None:
        point = self.checkpoint
        check(point is None or len(point) == 2, "checkpoint", point, "be an epoch and a step")


@dataclass(frozen=True)
class GitState:
    """The commit of a checkout, and whether tracked files were modified."""

    commit: str
    dirty: bool


@dataclass(frozen=True)
class ErrorInfo:
    """Type and message of the error that ended an attempt."""

    type: str
    message: str

    def __str__(self) -> str:
        return f"{self.type}: {' '.join(self.message.split())}"


@dataclass(frozen=True)
class RunRecord:
    """The contents of ``run.json``; unknown values are ``None``.

    Attributes:
        run: name of the run.
        sweep: name of the sweep.
        model: name of the model.
        status: status of the run.
        created: when the run folder was created, in UTC.
        started: start of the last attempt, in UTC.
        ended: end of the last attempt, in UTC.
        seconds: duration of the training process that finished the run.
        seconds_per_epoch: mean duration of its epochs.
        node: node or host of the last attempt.
        gpus: names of its GPUs.
        replicas: number of model replicas.
        job_id: its Slurm job.
        job_ids: the Slurm jobs of all attempts.
        restarts: number of attempts before the last one.
        versions: versions of the libraries that decide a result.
        git: state of the checkout; ``None`` for an installed package.
        overrides: overrides that define the run.
        epochs: number of epochs to train.
        failure: why the last attempt ended before the run was finished, a value of
            :class:`Failure`.
        error: the error that ended the last attempt.
        attempts: all attempts, oldest first.
        bad_nodes: nodes that attempts found unfit.
    """

    run: str
    sweep: str
    model: str
    status: Status = Status.CREATED
    created: str = field(default_factory=now)
    started: str | None = None
    ended: str | None = None
    seconds: float | None = None
    seconds_per_epoch: float | None = None
    node: str | None = None
    gpus: list[str] = field(default_factory=list)
    replicas: int | None = None
    job_id: str | None = None
    job_ids: list[str] = field(default_factory=list)
    restarts: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    git: GitState | None = None
    overrides: list[str] = field(default_factory=list)
    epochs: int | None = None
    failure: str | None = None
    error: ErrorInfo | None = None
    attempts: list[Attempt] = field(default_factory=list)
    bad_nodes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check("/" not in self.model, "model", self.model, "be a name")


def write_record(paths: RunPaths, record: RunRecord) -> None:
    """Write ``run.json``."""
    write_json_record(paths.record, record)


def read_record(paths: RunPaths) -> RunRecord | None:
    """Read ``run.json``; ``None`` if it does not exist.

    Raises:
        DataError: the file is not a run record.
    """
    try:
        return read_json_record(RunRecord, paths.record)
    except FileNotFoundError:
        return None


def update_record(paths: RunPaths, **changes: Any) -> RunRecord:
    """Change some fields of ``run.json``.

    Raises:
        DataError: the file is missing or damaged.
    """
    record = read_record(paths)
    if record is None:
        raise DataError(f"{paths.record} is missing; launch the sweep again to recreate the run")
    record = dataclasses.replace(record, **changes)
    write_record(paths, record)
    return record
