"""Serialize finished runs to JSON lines, and detect changes of the files they were read from."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from xray_hpc.records.paths import SPLITS, RunPaths
from xray_hpc.records.run_flags import Flag
from xray_hpc.records.run_metrics import ClassMetrics, RunMetrics, SplitMetrics
from xray_hpc.records.run_progress import TrainingProgress
from xray_hpc.records.run_record import Attempt, ErrorInfo, GitState, RunRecord, Status
from xray_hpc.report.read_run import parse_overrides
from xray_hpc.report.run_result import RunResult

RESULT_SUFFIXES = (".json", ".yaml", ".csv", ".keras", ".txt", ".png")
NANOSECONDS_PER_SECOND = 1e9


def run_to_json(run: RunResult) -> bytes | None:
    """Return a finished run without its large tables as a JSON line.

    ``None`` is returned for unfinished runs, and if JSON cannot represent a value exactly.
    """
    if not run.finished or run.record is None or run.metrics is None or run.epochs is None:
        return None
    values = {
        "config": run.config,
        "record": dataclasses.asdict(dataclasses.replace(run.record, files={})),
        "progress": run.progress and dataclasses.asdict(run.progress),
        "metrics": dataclasses.asdict(run.metrics),
        "epochs": {name: _encode_array(run.epochs[name]) for name in run.epochs},
        "curves": {split: _encode_array(points) for split, points in run.curves.items()},
    }
    try:
        line = json.dumps(values)
    except (TypeError, ValueError):  # a config may be any YAML
        return None
    return line.encode() + b"\n" if json.loads(line) == values else None


def run_from_json(line: bytes) -> RunResult:
    """Return the run of a line of :func:`run_to_json`, without scores and ROC tables.

    Raises:
        ValueError, KeyError, TypeError: the line is invalid.
    """
    values = json.loads(line)
    record = _record(values["record"])
    return RunResult(
        name=record.run,
        model=record.model,
        status=Status.FINISHED.value,
        config=values["config"],
        overrides=parse_overrides(record.overrides),
        record=record,
        progress=values["progress"] and TrainingProgress(**values["progress"]),
        metrics=_metrics(values["metrics"]),
        epochs={name: _decode_array(encoded) for name, encoded in values["epochs"].items()},
        curves={split: _decode_array(encoded) for split, encoded in values["curves"].items()},
    )


# The records were validated when they were read from the run folder. Validating them again would
# take longer than everything else that a cached run needs.


def _record(values: dict[str, Any]) -> RunRecord:
    nested = {
        "status": Status(values["status"]),
        "attempts": [Attempt(**attempt) for attempt in values["attempts"]],
        "git": values["git"] and GitState(**values["git"]),
        "error": values["error"] and ErrorInfo(**values["error"]),
    }
    return RunRecord(**values | nested)


def _metrics(values: dict[str, Any]) -> RunMetrics:
    nested = {split: _split_metrics(values[split]) for split in SPLITS}
    return RunMetrics(**values | nested | {"flags": list(map(Flag, values["flags"]))})


def _split_metrics(values: dict[str, Any]) -> SplitMetrics:
    per_class = {name: ClassMetrics(**one) for name, one in values["per_class"].items()}
    return SplitMetrics(**values | {"per_class": per_class})


def _encode_array(values: np.ndarray[Any, Any]) -> list[Any]:
    """Encode dtype, shape and bytes; exact, and ten times faster than text."""
    text = base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
    return [values.dtype.str, list(values.shape), text]


def _decode_array(encoded: list[Any]) -> np.ndarray[Any, Any]:
    dtype, shape, text = encoded
    return np.frombuffer(base64.b64decode(text), dtype=dtype).reshape(shape)


def folder_signature(paths: RunPaths) -> tuple[str, float]:
    """Return a digest of the identity of a run's result files, and their latest change time.

    Rewriting or replacing a file changes its ctime (which, unlike the mtime, cannot be set) or its
    inode number. A folder that cannot be listed may change unnoticed; the time is then infinite.
    """
    files, newest = [], 0.0
    for folder in (paths.folder, paths.figures):
        try:
            with os.scandir(folder) as entries:
                files += [_stat(one) for one in entries if one.name.endswith(RESULT_SUFFIXES)]
        except FileNotFoundError:
            pass
        except OSError:
            newest = math.inf
    files.sort()
    newest = max(newest, *(ctime / NANOSECONDS_PER_SECOND for *_, ctime in files), 0.0)
    return hashlib.sha256(repr(files).encode()).hexdigest(), newest


def file_version(path: Path) -> list[int] | None:
    """Return an identifier of the file now at ``path``, or ``None`` if there is no file."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _stat(entry: os.DirEntry[str]) -> tuple[str, int, int, int, int]:
    """Return the identity of a file, or the reason why it has none: a link may be dangling."""
    try:
        stat = entry.stat()
    except OSError as error:
        return (entry.name, -(error.errno or 0), 0, 0, 0)
    return (entry.name, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
