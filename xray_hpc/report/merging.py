"""The records of many runs as five tables: runs, classes, epochs, scores, ROC points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xray_hpc.report.axes import swept_keys, value
from xray_hpc.report.checking import MEASURES, OF_A_CLASS
from xray_hpc.report.reading import ACCURACY, AUC, IMAGE, LOSS, ROC, SCORE
from xray_hpc.report.run import Run
from xray_hpc.runs.files import replacing
from xray_hpc.runs.paths import SPLITS

EPOCH_COLUMNS = ("run", "model", *(ACCURACY | LOSS | AUC))
CLASS_COLUMNS = ("run", "model", "split", "class", *OF_A_CLASS)
SCORE_COLUMNS = ("run", "model", "split", "class", *IMAGE, SCORE)
ROC_COLUMNS = ("run", "model", "split", "class", *ROC)


def runs_table(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a run, in the order given; ``[len(runs), columns]`` of Python objects.

    What is not known is ``None``.
    """
    keys = swept_keys(runs)
    rows = [
        {"run": run.name, "model": run.model}
        | {key: value(run, key) for key in keys}
        | {"status": run.status, "classes": len(run.classes) or None}
        | {key: run.metrics.get(key) for key in ("best_epoch", "epochs")}
        | {f"{split}_{name}": run.measure(split, name) for split in SPLITS for name in MEASURES}
        | {key: run.metrics.get(key) for key in ("parameters", "trainable_parameters")}
        | _circumstances(run)
        for run in runs
    ]
    return pd.DataFrame(rows, dtype=object)


def _circumstances(run: Run) -> dict[str, Any]:
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
        "tries": record and used.tries,
        "restarts": record and record.restarts,
        "failure": record and record.failure,
        "error": run.error,
    }


def classes_table(runs: Iterable[Run]) -> pd.DataFrame:
    """One row a class of each split of each run that has metrics; ``[rows, CLASS_COLUMNS]``."""
    rows = [
        {"run": run.name, "model": run.model, "split": split, "class": name} | of_class
        for run in runs
        for split in SPLITS
        for name, of_class in (run.measure(split, "per_class") or {}).items()
    ]
    return pd.DataFrame(rows, columns=list(CLASS_COLUMNS), dtype=object)


def epochs_table(runs: Iterable[Run]) -> pd.DataFrame:
    """One row an epoch of each run that has any; ``[epochs, EPOCH_COLUMNS]``."""
    parts = [_marked(run, run.epochs) for run in runs if run.epochs is not None]
    return _concatenated(parts, EPOCH_COLUMNS)


def roc_table(runs: Iterable[Run]) -> pd.DataFrame:
    """One row a point of each ROC curve; ``[points, ROC_COLUMNS]``."""
    parts = [_marked(run, table, split) for run in runs for split, table in run.roc.items()]
    return _concatenated(parts, ROC_COLUMNS)


def _marked(run: Run, table: pd.DataFrame, split: str | None = None) -> pd.DataFrame:
    marks = {"run": run.name, "model": run.model} | ({} if split is None else {"split": split})
    return table.assign(**marks)


def _concatenated(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    if not parts:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(parts, ignore_index=True).reindex(columns=list(columns))


def write_scores(path: Path, runs: Iterable[Run]) -> list[Run]:
    """Write ``scores.csv`` as the runs come, and return them without their scores.

    Scores are by far the largest table (images times runs), so one run's are held at a time.
    """
    kept = []
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        out.write(",".join(SCORE_COLUMNS) + "\n")
        for run in runs:
            for split, table in run.scores.items():
                frame = _marked(run, long_scores(table, run.classes), split)[list(SCORE_COLUMNS)]
                frame.to_csv(out, index=False, header=False, lineterminator="\n")
            kept.append(run.without_scores())
    return kept


def long_scores(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """A run's ``N`` images as rows of one class and one score each.

    Of two classes a row is an image, and its class the positive one (empty if ``classes`` are not
    known). Of more, a row is an image and a class: ``[N * K]``, ``y_true`` 1 where the image is
    of the class, ``y_scores`` the probability of it.
    """
    if SCORE in table:
        return table.assign(**{"class": classes[1] if classes else ""})
    scores = table.drop(columns=list(IMAGE))
    names = [str(head).removeprefix(f"{SCORE}_") for head in scores]
    of_class = table["y_true"].to_numpy()[:, None] == np.arange(len(names))
    images = table[["file", "patient"]]
    return pd.DataFrame(
        {name: np.repeat(images[name].to_numpy(), len(names)) for name in images}
        | {"class": np.tile(np.array(names, dtype=object), len(table))}
        | {"y_true": of_class.ravel().astype(np.int64), SCORE: scores.to_numpy().ravel()}
    )
