"""``run.json``: what happened to a run."""

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
    """Where a run stands, as its own record says."""

    CREATED = "created"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Failure(str, Enum):
    """Why a try of a run ended before the run was finished."""

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
    """This moment in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def user_name() -> str:
    """The name of this process's user; the number where nobody knows the name (in a container)."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


@dataclass(frozen=True)
class Attempt:
    """One start of a run: where, with what, how it ended and what it used.

    ``queued`` is when Slurm took the job (or took it back into the queue), ``memory`` and
    ``peak_memory`` are MiB, ``time_limit`` minutes, ``cpu_seconds`` those of the training process,
    ``gpu_use`` the mean percentage of the GPUs that was busy, ``epochs`` how many epochs of the
    run were done when the try ended, ``checkpoint`` where the next one can go on (so many epochs,
    and steps of the next), ``feature_blocks`` how many blocks of the cached features it had
    computed, ``restarts`` how often Slurm had put the job back when it began. What is not known is
    ``None``.
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
class RunRecord:
    """The contents of ``run.json``; what is not known (yet) is ``None``.

    ``failure`` is a value of :class:`Failure`, that of the last try; ``epochs`` is how many the
    configuration asks for. ``bad_nodes`` are those that a try found unfit.
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
    git: dict[str, Any] | None = None
    overrides: list[str] = field(default_factory=list)
    epochs: int | None = None
    failure: str | None = None
    error: dict[str, str] | None = None
    attempts: list[Attempt] = field(default_factory=list)
    bad_nodes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check("/" not in self.model, "model", self.model, "be a name")


def write_record(paths: RunPaths, record: RunRecord) -> None:
    """Write ``run.json`` in one step."""
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
    """Change some fields of ``run.json``; ``UserError`` where there is none."""
    record = read_record(paths)
    if record is None:
        raise DataError(f"{paths.record} is missing; launch the sweep again to make the run anew")
    record = dataclasses.replace(record, **changes)
    write_record(paths, record)
    return record
