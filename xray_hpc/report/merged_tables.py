"""The records of many runs as five tables: runs, classes, epochs, scores, ROC points."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from xray_hpc.records.paths import SPLITS
from xray_hpc.records.run_metrics import MEASURES, ClassMetrics
from xray_hpc.report.csv_columns import Table, csv_lines, height
from xray_hpc.report.read_run import ACCURACY, AUC, IMAGE, LOSS, ROC, SCORE
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import swept_keys, value

Rows = list[dict[str, Any]]

EPOCH_COLUMNS = ("run", "model", *(ACCURACY | LOSS | AUC))
CLASS_METRICS = tuple(field.name for field in dataclasses.fields(ClassMetrics))
CLASS_COLUMNS = ("run", "model", "split", "class", *CLASS_METRICS)
SCORE_COLUMNS = ("run", "model", "split", "class", *IMAGE, SCORE)
ROC_COLUMNS = ("run", "model", "split", "class", *ROC)
# The tables that are a run's lines after another's, by their files.
BY_RUN = {"scores.csv": SCORE_COLUMNS, "roc.csv": ROC_COLUMNS, "epochs.csv": EPOCH_COLUMNS}


def runs_rows(runs: Sequence[RunResult]) -> Rows:
    """One row a run, in the order given; all have the same keys.

    What is not known is ``None``.
    """
    keys = swept_keys(runs)
    return [
        {"run": run.name, "model": run.model}
        | {key: value(run, key) for key in keys}
        | {"status": run.status, "classes": len(run.classes) or None}
        | {key: getattr(run.metrics, key, None) for key in ("best_epoch", "epochs")}
        | {f"{split}_{name}": run.measure(split, name) for split in SPLITS for name in MEASURES}
        | {key: getattr(run.metrics, key, None) for key in ("parameters", "trainable_parameters")}
        | _circumstances(run)
        for run in runs
    ]


def _circumstances(run: RunResult) -> dict[str, Any]:
    record, used = run.record, run.usage
    return {
        "seconds": record and record.seconds,
        "seconds_per_epoch": record and record.seconds_per_epoch,
        "waiting_seconds": used.waiting,
        "gpu_hours": used.gpu_hours,
        "gpu_use": used.gpu_use,
        "cpu_use": used.cpu_use,
        "peak_memory_mb": used.peak_memory,
        "asked_memory_mb": used.asked_memory,
        "node": record and record.node,
        "gpus": ("; ".join(record.gpus) or None) if record else None,
        "replicas": record and record.replicas,
        "job_id": record and record.job_id,
        "attempts": record and used.attempts,
        "restarts": record and record.restarts,
        "failure": record and record.failure,
        "error": run.error,
    }


def class_rows(runs: Iterable[RunResult]) -> Rows:
    """One row a class of each split of each run that has metrics, with ``CLASS_COLUMNS``."""
    return [
        {"run": run.name, "model": run.model, "split": split, "class": name} | vars(of_class)
        for run in runs
        for split in SPLITS
        for name, of_class in (run.measure(split, "per_class") or {}).items()
    ]


def table_text(columns: Sequence[str], rows: Rows) -> str:
    """A whole CSV file of these columns."""
    cells = ([row.get(name) for row in rows] for name in columns)
    return (csv_lines([name] for name in columns) + csv_lines(cells)).decode()


def lines_of(run: RunResult) -> dict[str, bytes]:
    """What a run adds to each of the tables ``BY_RUN``."""
    tables: dict[str, Mapping[str, Table]] = {
        "scores.csv": {s: long_scores(table, run.classes) for s, table in run.scores.items()},
        "roc.csv": run.roc,
        "epochs.csv": {} if run.epochs is None else {"": run.epochs},
    }
    return {
        file: b"".join(_lines(run, split, table, BY_RUN[file]) for split, table in found.items())
        for file, found in tables.items()
    }


def _lines(run: RunResult, split: str, table: Table, columns: Sequence[str]) -> bytes:
    marks = [run.name, run.model, *([split] if split else [])]
    empty = [None] * height(table)
    return csv_lines((table.get(name, empty) for name in columns[len(marks) :]), marks)


def long_scores(table: Table, classes: Sequence[str]) -> Table:
    """A run's ``N`` images as rows of one class and one score each.

    Of two classes a row is an image, and its class the positive one (empty if ``classes`` are not
    known). Of more, a row is an image and a class: ``[N * K]``, ``y_true`` 1 where the image is
    of the class, ``y_scores`` the probability of it.
    """
    images = height(table)
    if SCORE in table:
        return table | {"class": np.full(images, classes[1] if classes else "", dtype=object)}
    heads = [head for head in table if head not in IMAGE]
    names = np.array([head.removeprefix(f"{SCORE}_") for head in heads], dtype=object)
    of_class = table["y_true"][:, None] == np.arange(len(names))
    return {
        **{name: np.repeat(table[name], len(names)) for name in ("file", "patient")},
        "class": np.tile(names, images),
        "y_true": of_class.ravel().astype(np.int64),
        SCORE: np.stack([table[head] for head in heads], axis=1).ravel(),
    }
