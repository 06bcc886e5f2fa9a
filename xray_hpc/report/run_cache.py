"""What a report needs of a finished run besides its lines of the tables, as a line of JSON.

And the signature of the files that it was read from, by which a change of them is noticed.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from xray_hpc.config.schema import build
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_metrics import RunMetrics
from xray_hpc.records.run_progress import TrainingProgress
from xray_hpc.records.run_record import RunRecord, Status
from xray_hpc.report.read_run import by_key
from xray_hpc.report.run_result import RunResult

READ = (".json", ".yaml", ".csv")
NANOSECONDS = 1e9


def facts_of(run: RunResult) -> bytes | None:
    """A finished run as one line; ``None`` of any other, and where JSON would change a value."""
    if not run.finished or run.record is None or run.metrics is None or run.epochs is None:
        return None
    facts = {
        "config": run.config,
        "record": dataclasses.asdict(run.record),
        "progress": run.progress and dataclasses.asdict(run.progress),
        "metrics": dataclasses.asdict(run.metrics),
        "epochs": {name: _packed(run.epochs[name]) for name in run.epochs},
        "curves": {split: _packed(points) for split, points in run.curves.items()},
    }
    try:
        line = json.dumps(facts)
    except (TypeError, ValueError):  # a config may be any YAML
        return None
    return line.encode() + b"\n" if json.loads(line) == facts else None


def run_of(line: bytes) -> RunResult:
    """The run of a line of :func:`facts_of`, without its scores and ROC tables.

    Raises:
        ValueError, KeyError, TypeError: it is no such line.
    """
    facts = json.loads(line)
    record = build(RunRecord, facts["record"])
    return RunResult(
        name=record.run,
        model=record.model,
        status=Status.FINISHED.value,
        config=facts["config"],
        overrides=by_key(record.overrides),
        record=record,
        progress=facts["progress"] and build(TrainingProgress, facts["progress"]),
        metrics=build(RunMetrics, facts["metrics"]),
        epochs={name: _unpacked(packed) for name, packed in facts["epochs"].items()},
        curves={split: _unpacked(packed) for split, packed in facts["curves"].items()},
    )


def _packed(values: np.ndarray[Any, Any]) -> list[Any]:
    """Their type and shape, and the bytes: every digit, and in a tenth of the time of a text."""
    text = base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
    return [values.dtype.str, list(values.shape), text]


def _unpacked(packed: list[Any]) -> np.ndarray[Any, Any]:
    kind, shape, text = packed
    return np.frombuffer(base64.b64decode(text), dtype=kind).reshape(shape)


def signature(paths: RunPaths) -> tuple[str, float]:
    """Which files those are that a run is read from; and when the last of them changed.

    A file that is written anew, or put in another's place, has another time of its last change
    (which, unlike that of its contents, nobody can set) or another number.
    """
    try:
        with os.scandir(paths.folder) as entries:
            found = sorted(_stat(entry) for entry in entries if entry.name.endswith(READ))
    except OSError:
        found = []
    newest = max((changed for *_, changed in found), default=0)
    return hashlib.sha256(repr(found).encode()).hexdigest(), newest / NANOSECONDS


def file_version(path: Path) -> list[int] | None:
    """Which of all files that were ever at ``path`` is there now; ``None`` if none is."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _stat(entry: os.DirEntry[str]) -> tuple[str, int, int, int, int]:
    stat = entry.stat()
    return (entry.name, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
