"""Concatenate the tables of runs to long tables: epochs, scores, ROC points.

The columns of a table are always there, and of the same types, also without rows. Columns of text
are categorical: a table of 10,000 runs has 17 million scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from xray_hpc.records.paths import SPLITS
from xray_hpc.report.read_run import ACCURACY, AUC, IMAGE, LOGIT, LOSS, ROC, SCORE, SCORE_OF
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.shared_columns import CategoryCodes
from xray_hpc.report.typed_csv import Table, row_count

Array = npt.NDArray[Any]

EPOCHS = ACCURACY | LOSS | AUC
EPOCH_COLUMNS = ("run", "model", *EPOCHS)
SCORE_COLUMNS = ("run", "model", "split", SCORE_OF, *IMAGE, SCORE, LOGIT)
ROC_COLUMNS = ("run", "model", "split", SCORE_OF, *ROC)


def epoch_table(runs: Sequence[RunResult]) -> pd.DataFrame:
    """Return accuracy, loss and AUC per epoch of all runs, from epoch 1: ``EPOCH_COLUMNS``."""
    parts = [(run, run.epochs) for run in runs if run.epochs is not None]
    lengths = [row_count(table) for _, table in parts]
    columns = _run_columns(runs, [run for run, _ in parts], lengths)
    for name, dtype in EPOCHS.items():
        found = [
            table.get(name, np.full(length, np.nan))
            for (_, table), length in zip(parts, lengths, strict=True)
        ]
        columns[name] = _joined(found, dtype)
    return pd.DataFrame(columns)


def score_table(runs: Sequence[RunResult]) -> pd.DataFrame:
    """Return the score of every image in every run, in long format: ``SCORE_COLUMNS``.

    ``score_of`` is the class of the score. With two classes there is a row per image, for the
    positive class (empty if the classes are unknown). With K > 2 there are K rows per image:
    ``y_true`` is 1 if the image is of the class, ``y_scores`` is the probability of the class, and
    ``logit`` its log-odds.
    """
    parts = _split_tables(runs, "scores")
    codes = {name: CategoryCodes() for name in (SCORE_OF, "file", "patient")}
    found: dict[str, list[Array]] = {name: [] for name in (SCORE_OF, *IMAGE, SCORE, LOGIT)}
    for run, _, table in parts:
        names = _scored_classes(run, table)
        images, count = row_count(table), len(names)
        found[SCORE_OF].append(np.tile([codes[SCORE_OF].code(name) for name in names], images))
        for column in ("file", "patient"):
            found[column].append(np.repeat(codes[column].encode(table[column]), count))
        y_true = table["y_true"]
        if SCORE in table:
            found["y_true"].append(y_true)
        else:
            found["y_true"].append((y_true[:, None] == np.arange(count)).ravel())
        for column in (SCORE, LOGIT):
            heads = [column] if SCORE in table else [f"{column}_{name}" for name in names]
            found[column].append(np.stack([table[head] for head in heads], axis=1).ravel())
    return _long_table(runs, parts, found, codes, {"y_true": "int64"})


def roc_table(runs: Sequence[RunResult]) -> pd.DataFrame:
    """Return the points of the ROC curves of all runs: ``ROC_COLUMNS``."""
    parts = _split_tables(runs, "roc")
    codes = {SCORE_OF: CategoryCodes()}
    found: dict[str, list[Array]] = {
        SCORE_OF: [codes[SCORE_OF].encode(table[SCORE_OF]) for _, _, table in parts],
        **{name: [table[name] for _, _, table in parts] for name in ROC},
    }
    return _long_table(runs, parts, found, codes, {})


Parts = Sequence[tuple[RunResult, str, Table]]


def _split_tables(runs: Sequence[RunResult], kind: str) -> Parts:
    return [
        (run, split, table)
        for run in runs
        for split in SPLITS
        if (table := getattr(run, kind).get(split)) is not None
    ]


def _scored_classes(run: RunResult, table: Table) -> list[str]:
    """Return the classes that the score columns of a table are of."""
    if SCORE in table:
        return [run.classes[1] if run.classes else ""]
    return [head.removeprefix(f"{SCORE}_") for head in table if head.startswith(f"{SCORE}_")]


def _long_table(
    runs: Sequence[RunResult],
    parts: Parts,
    found: dict[str, list[Array]],
    codes: dict[str, CategoryCodes],
    dtypes: dict[str, str],
) -> pd.DataFrame:
    """Join the parts of each column, and free them."""
    lengths = [len(part) for part in found[SCORE_OF]]
    columns = _run_columns(runs, [run for run, _, _ in parts], lengths)
    splits = np.array([SPLITS.index(split) for _, split, _ in parts], dtype=np.int8)
    columns["split"] = CategoryCodes(SPLITS).column(np.repeat(splits, lengths))
    for name in list(found):
        numbers = name not in codes
        joined = _joined(found.pop(name), dtypes.get(name, "float64") if numbers else "int32")
        columns[name] = joined if numbers else codes[name].column(joined)
    return pd.DataFrame(columns)


def _run_columns(
    runs: Sequence[RunResult], owners: Sequence[RunResult], lengths: Sequence[int]
) -> dict[str, Any]:
    """Return the columns ``run`` and ``model`` of tables with ``lengths`` rows."""
    names = CategoryCodes([run.name for run in runs])
    models = CategoryCodes(list(dict.fromkeys(run.model for run in runs)))
    return {
        "run": names.column(_repeated([names.code(run.name) for run in owners], lengths)),
        "model": models.column(_repeated([models.code(run.model) for run in owners], lengths)),
    }


def _repeated(codes: Sequence[int], lengths: Sequence[int]) -> Array:
    return np.repeat(np.array(codes, dtype=np.int32), np.array(lengths, dtype=np.int64))


def _joined(parts: Sequence[Array], dtype: str) -> Array:
    return np.concatenate([np.empty(0, dtype), *parts]).astype(dtype, copy=False)
