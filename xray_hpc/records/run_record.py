"""``run.json``: the status of a run and its attempts."""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from xray_hpc.config.dataclass_conversion import check
from xray_hpc.errors import DataError
from xray_hpc.file_owner import uid_name
from xray_hpc.records.atomic_files import write_text
from xray_hpc.records.file_state import STATE
from xray_hpc.records.json_record import build_record, read_checked_json, with_checksum
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
    SETUP = "setup"
    BAD_DATA = "bad_data"
    NAN_LOSS = "nan_loss"
    STORAGE = "storage"
    KILLED = "killed"
    BUG = "bug"
    CANCELLED = "cancelled"


FILE = re.compile(r"(?:figures/(?:worst_misses/)?)?[^/\0]+")


def now() -> str:
    """Return the current time in UTC, ISO 8601 with seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def user_name() -> str:
    """Return the name of this process's user, or the number of one without a name."""
    return uid_name(os.geteuid())


@dataclass(frozen=True)
class Attempt:
    """One attempt at a run; unknown values are ``None``."""

    started: str  # in UTC, as the other times
    node: str  # or host
    job_id: str | None = None
    queued: str | None = None  # when Slurm queued or requeued the job
    ended: str | None = None
    failure: str | None = None  # a value of Failure, if the run was not finished
    requeued: bool = False  # whether the job requeued itself afterwards
    epochs: int | None = None  # number of completed epochs of the run at its end
    checkpoint: list[int] | None = None  # completed epochs, and steps of the next
    feature_blocks: int | None = None  # number of blocks of the cached features at its end
    gpus: int = 0
    cpus: int | None = None
    memory: int | None = None  # of the job, in MiB
    time_limit: int | None = None  # of the job, in minutes
    peak_memory: int | None = None  # most memory in use at a time, in MiB
    cpu_seconds: float | None = None  # of the training process
    gpu_use: float | None = None  # mean utilization of the GPUs, in percent
    restarts: int = 0  # how often Slurm had requeued the job at its start
    ledger_position: int = 0  # size of the sweep's ledger at its start: later events come after it

    def __post_init__(self) -> None:
        _check_times(queued=self.queued, started=self.started, ended=self.ended)
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

    def explain(self, failure: str | None) -> str:
        """Return the error in one line, without its type if the failure class says it."""
        return str(self) if failure in (None, "bug") else " ".join(self.message.split())


@dataclass(frozen=True)
class RunRecord:
    """The contents of ``run.json``; unknown values are ``None``."""

    run: str
    sweep: str
    model: str
    status: Status = Status.CREATED
    created: str = field(default_factory=now)  # in UTC, as the other times
    started: str | None = None  # start of the last attempt
    ended: str | None = None  # its end
    seconds: float | None = None  # duration of the training process that finished the run
    seconds_per_epoch: float | None = None  # mean of its epochs
    node: str | None = None  # node or host of the last attempt
    gpus: list[str] = field(default_factory=list)  # names of its GPUs
    replicas: int | None = None
    threads: int | None = None  # of an operation on the CPU
    job_id: str | None = None  # its Slurm job
    job_ids: list[str] = field(default_factory=list)  # of all attempts
    restarts: int = 0  # number of attempts before the last one
    versions: dict[str, str] = field(default_factory=dict)  # of the libraries that decide a result
    environment: dict[str, str] = field(default_factory=dict)  # variables that these libraries read
    git: GitState | None = None  # None for an installed package
    overrides: list[str] = field(default_factory=list)
    epochs: int | None = None  # number of epochs to train
    failure: str | None = None  # a value of Failure, if the last attempt failed
    error: ErrorInfo | None = None  # what ended the last attempt
    attempts: list[Attempt] = field(default_factory=list)  # oldest first
    bad_nodes: list[str] = field(default_factory=list)  # nodes that attempts found unfit
    # The states of its result files, by their paths in its folder; until it is finished that of
    # config.yaml alone
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_times(created=self.created, started=self.started, ended=self.ended)
        check(not {"/", "\0"} & set(self.model), "model", self.model, "be a name")
        for name, state in self.files.items():
            if not FILE.fullmatch(name) or not STATE.fullmatch(state):
                check(False, "files", f"{name}: {state}", "name files of the run and their states")


def _check_times(**times: str | None) -> None:
    for key, text in times.items():
        try:
            known = text is None or datetime.fromisoformat(text).tzinfo is not None
        except ValueError:
            known = False
        check(known, key, text, "be a time with its offset from UTC")


def write_record(paths: RunPaths, record: RunRecord) -> None:
    """Write ``run.json``, with a checksum of itself."""
    write_text(paths.record, with_checksum(dataclasses.asdict(record), indent=2))


def read_record(paths: RunPaths) -> RunRecord | None:
    """Read ``run.json``, ``None`` without one; raise as :func:`read_json_record`."""
    try:
        values = read_checked_json(paths.record)
    except FileNotFoundError:
        return None
    return build_record(RunRecord, values, paths.record)


def update_record(paths: RunPaths, **changes: Any) -> RunRecord:
    """Change some fields of ``run.json``; raise ``DataError`` if it is missing."""
    record = read_record(paths)
    if record is None:
        raise DataError(f"{paths.record} is missing; launch the sweep again to recreate the run")
    record = dataclasses.replace(record, **changes)
    write_record(paths, record)
    return record
