"""``run.json``: what happened to a run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from xray_hpc.errors import UserError
from xray_hpc.runs.files import read_json, write_json
from xray_hpc.runs.paths import RunPaths


class Status(str, Enum):
    """Where a run stands, as its own record says."""

    CREATED = "created"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


def now() -> str:
    """This moment in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@dataclass(frozen=True)
class RunRecord:
    """The contents of ``run.json``; what is not known (yet) is ``None``."""

    run: str
    sweep: str
    model: str
    status: Status = Status.CREATED
    created: str = field(default_factory=now)
    started: str | None = None
    ended: str | None = None
    seconds: float | None = None
    node: str | None = None
    gpus: list[str] = field(default_factory=list)
    replicas: int | None = None
    job_id: str | None = None
    job_ids: list[str] = field(default_factory=list)
    restarts: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    git: dict[str, Any] | None = None
    overrides: list[str] = field(default_factory=list)
    error: dict[str, str] | None = None


def write_record(paths: RunPaths, record: RunRecord) -> None:
    """Write ``run.json`` in one step."""
    write_json(paths.record, dataclasses.asdict(record))


def read_record(paths: RunPaths) -> RunRecord | None:
    """Read ``run.json``; ``None`` where there is none, ``UserError`` where it makes no sense."""
    try:
        value = read_json(paths.record)
    except FileNotFoundError:
        return None
    known = {item.name for item in dataclasses.fields(RunRecord)}
    try:
        status = Status(value.get("status"))
        return RunRecord(**{k: v for k, v in value.items() if k in known} | {"status": status})
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{paths.record} is not a run record ({error}); remove it and launch again"
        ) from error


def update_record(paths: RunPaths, **changes: Any) -> RunRecord:
    """Change some fields of ``run.json``; ``UserError`` where there is none."""
    record = read_record(paths)
    if record is None:
        raise UserError(f"{paths.record} is missing; launch the sweep again to make the run anew")
    record = dataclasses.replace(record, **changes)
    write_record(paths, record)
    return record
