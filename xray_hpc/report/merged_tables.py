"""Return the rows of the small tables of a report: runs and classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xray_hpc.records.paths import SPLITS
from xray_hpc.records.run_metrics import MEASURES, ClassMetrics
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import config_value, swept_keys
from xray_hpc.report.typed_csv import csv_lines

Rows = list[dict[str, Any]]

CLASS_METRICS = tuple(field.name for field in dataclasses.fields(ClassMetrics))
CLASS_COLUMNS = ("run", "model", "split", "class", *CLASS_METRICS)


def runs_rows(runs: Sequence[RunResult], sweeps: Mapping[str, str] | None = None) -> Rows:
    """Return one row per run, in the given order and with the same keys; ``None`` is unknown.

    ``sweeps`` are the names of the runs' sweeps, for a column ``sweep``.
    """
    keys = swept_keys(runs)
    return [
        {"run": run.name}
        | ({"sweep": sweeps[run.name]} if sweeps else {})
        | {"model": run.model}
        | {key: config_value(run, key) for key in keys}
        | {"status": run.status, "classes": len(run.classes) or None}
        | {"flags": "; ".join(flag.value for flag in run.flags) or None}
        | {key: getattr(run.metrics, key, None) for key in ("best_epoch", "epochs")}
        | {f"{split}_{name}": run.metric(split, name) for split in SPLITS for name in MEASURES}
        | {key: getattr(run.metrics, key, None) for key in ("parameters", "trainable_parameters")}
        | _resource_columns(run)
        for run in runs
    ]


def _resource_columns(run: RunResult) -> dict[str, Any]:
    record, usage = run.record, run.usage
    return {
        "seconds": record and record.seconds,
        "seconds_per_epoch": record and record.seconds_per_epoch,
        "queue_seconds": usage.queue_seconds,
        "gpu_hours": usage.gpu_hours,
        "gpu_use": usage.gpu_use,
        "cpu_use": usage.cpu_use,
        "peak_memory_mb": usage.peak_memory,
        "requested_memory_mb": usage.requested_memory,
        "node": record and record.node,
        "gpus": ("; ".join(record.gpus) or None) if record else None,
        "replicas": record and record.replicas,
        "job_id": record and record.job_id,
        "attempts": record and usage.attempts,
        "restarts": record and record.restarts,
        "failure": record and record.failure,
        "error": run.error,
    }


def class_rows(runs: Iterable[RunResult]) -> Rows:
    """Return one row per run with metrics, split and class, with the keys ``CLASS_COLUMNS``."""
    return [
        {"run": run.name, "model": run.model, "split": split, "class": name} | vars(metrics)
        for run in runs
        for split in SPLITS
        for name, metrics in (run.metric(split, "per_class") or {}).items()
    ]


def csv_text(columns: Sequence[str], rows: Rows) -> str:
    """Return a CSV file with these columns."""
    cells = ([row.get(name) for row in rows] for name in columns)
    return (csv_lines([name] for name in columns) + csv_lines(cells)).decode()
