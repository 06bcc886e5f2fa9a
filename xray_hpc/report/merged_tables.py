"""Merge the records of many runs into five tables: runs, classes, epochs, scores, ROC points."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from xray_hpc.records.paths import SPLITS
from xray_hpc.records.run_metrics import MEASURES, ClassMetrics
from xray_hpc.report.read_run import ACCURACY, AUC, IMAGE, LOGIT, LOSS, ROC, SCORE, SCORE_OF
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import config_value, swept_keys
from xray_hpc.report.typed_csv import Table, csv_lines, row_count

Rows = list[dict[str, Any]]

EPOCH_COLUMNS = ("run", "model", *(ACCURACY | LOSS | AUC))
CLASS_METRICS = tuple(field.name for field in dataclasses.fields(ClassMetrics))
CLASS_COLUMNS = ("run", "model", "split", "class", *CLASS_METRICS)
SCORE_COLUMNS = ("run", "model", "split", SCORE_OF, *IMAGE, SCORE, LOGIT)
ROC_COLUMNS = ("run", "model", "split", SCORE_OF, *ROC)
# Columns of the tables that are concatenations of the runs' lines, by file.
RUN_TABLES = {"scores.csv": SCORE_COLUMNS, "roc.csv": ROC_COLUMNS, "epochs.csv": EPOCH_COLUMNS}


def runs_rows(runs: Sequence[RunResult]) -> Rows:
    """Return one row per run, in the given order and with the same keys; ``None`` is unknown."""
    keys = swept_keys(runs)
    return [
        {"run": run.name, "model": run.model}
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


def run_lines(run: RunResult) -> dict[str, bytes]:
    """Return the run's CSV lines in each of the tables ``RUN_TABLES``."""
    tables: dict[str, Mapping[str, Table]] = {
        "scores.csv": {s: long_scores(table, run.classes) for s, table in run.scores.items()},
        "roc.csv": run.roc,
        "epochs.csv": {} if run.epochs is None else {"": run.epochs},
    }
    return {
        file: b"".join(_lines(run, split, table, columns) for split, table in tables[file].items())
        for file, columns in RUN_TABLES.items()
    }


def _lines(run: RunResult, split: str, table: Table, columns: Sequence[str]) -> bytes:
    prefix = [run.name, run.model, *([split] if split else [])]
    empty = [None] * row_count(table)
    return csv_lines((table.get(name, empty) for name in columns[len(prefix) :]), prefix)


def long_scores(table: Table, classes: Sequence[str]) -> Table:
    """Convert the scores of ``N`` images to long format: one class and one score per row.

    ``score_of`` is the class of the score. With two classes there is a row per image, for the
    positive class (empty if ``classes`` are unknown). With K > 2 there are ``N * K`` rows:
    ``y_true`` is 1 if the image is of the class, ``y_scores`` is the probability of the class, and
    ``logit`` its log-odds.
    """
    images = row_count(table)
    if SCORE in table:
        return table | {SCORE_OF: np.full(images, classes[1] if classes else "", dtype=object)}
    heads = [head for head in table if head.startswith(f"{SCORE}_")]
    names = np.array([head.removeprefix(f"{SCORE}_") for head in heads], dtype=object)
    is_class = table["y_true"][:, None] == np.arange(len(names))
    return {
        **{name: np.repeat(table[name], len(names)) for name in ("file", "patient")},
        SCORE_OF: np.tile(names, images),
        "y_true": is_class.ravel().astype(np.int64),
        **{
            column: np.stack([table[f"{column}_{name}"] for name in names], axis=1).ravel()
            for column in (SCORE, LOGIT)
        },
    }
