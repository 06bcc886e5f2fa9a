"""Metrics of runs with their intervals, in long tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from xray_hpc.report.image_scores import Array, Floats, ImageScores
from xray_hpc.report.run_estimates import multiclass_metrics, score_metrics, threshold_metrics
from xray_hpc.statistics.influence_intervals import Estimate
from xray_hpc.statistics.multiclass import majority_logits
from xray_hpc.statistics.operating_points import RULES, chosen_thresholds

COLUMNS = (
    *("data", "run", "split", "rule", "threshold", "metric", "value", "low", "high"),
    *("images", "patients"),
)
THRESHOLD_METRICS = (
    *("accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "mcc"),
)
BASELINE = "(majority class)"
"""The run that always predicts the most frequent class."""

CHUNK = 500  # runs at a time: 20 MB for each matrix of 5,000 images


def metric_table(data: str, images: ImageScores) -> pd.DataFrame:
    """Return the metrics of each run at the fixed threshold, and those without a threshold."""
    parts = [_fixed(data, part) for part in images.chunks(CHUNK)]
    return pd.concat(parts, ignore_index=True)


def _fixed(data: str, images: ImageScores) -> pd.DataFrame:
    half = np.full(len(images.runs), 0.5)
    if images.is_binary:
        found = score_metrics(images) | threshold_metrics(images, half)
    else:
        found = multiclass_metrics(images)
    free = {name: each for name, each in found.items() if name not in THRESHOLD_METRICS}
    fixed = {name: each for name, each in found.items() if name in THRESHOLD_METRICS}
    rows = [estimate_rows(data, images, free), estimate_rows(data, images, fixed, "fixed", half)]
    return pd.concat(rows, ignore_index=True)


def estimate_rows(
    data: str,
    images: ImageScores,
    estimates: Mapping[str, Estimate],
    rule: str = "",
    thresholds: Floats | None = None,
) -> pd.DataFrame:
    """Return the rows of estimates ``[M]`` of the runs, metric by metric.

    Args:
        rule: the rule of the thresholds, empty for metrics without a threshold.
        thresholds: ``[M]``; of more than two classes the fixed rule has none.
    """
    runs, names = len(images.runs), list(estimates)
    if thresholds is None or not images.is_binary:
        thresholds = np.full(runs, np.nan)
    columns: dict[str, Array | Sequence[str] | str | int] = {
        "data": data,
        "run": np.tile(np.asarray(images.runs, dtype=object), len(names)),
        "split": images.split,
        "rule": rule,
        "threshold": np.tile(thresholds, len(names)),
        "metric": np.repeat(np.asarray(names, dtype=object), runs),
        **{
            field: np.concatenate([getattr(estimates[name], field) for name in names])
            for field in Estimate._fields
        },
        "images": images.images,
        "patients": images.patient_count,
    }
    return pd.DataFrame(columns)[list(COLUMNS)]


def operating_points(
    data: str, validation: ImageScores, tests: Sequence[ImageScores]
) -> pd.DataFrame:
    """Return the metrics at thresholds chosen on validation images, on both splits.

    Args:
        validation: the runs whose thresholds are chosen, of two classes.
        tests: the test images of the same runs.
    """
    chosen = validation_thresholds(validation)
    parts = []
    for images in (validation, *(test.of(validation.runs) for test in tests)):
        for rule, by_run in chosen.items():
            thresholds = np.array([by_run[name] for name in images.runs])
            if rule != "fixed" and len(thresholds):
                found = threshold_metrics(images, thresholds)
                parts.append(estimate_rows(data, images, found, rule, thresholds))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def validation_thresholds(validation: ImageScores) -> dict[str, dict[str, float]]:
    """Return the threshold of each rule and run."""
    found = [chosen_thresholds(validation.y, scores) for scores in validation.scores]
    pairs = list(zip(validation.runs, found, strict=True))
    return {rule: {name: thresholds[rule] for name, thresholds in pairs} for rule in RULES}


def baseline_table(data: str, validation: ImageScores, test: ImageScores) -> pd.DataFrame:
    """Return the metrics of predicting the most frequent class, whatever the image.

    The class is that of the validation images, which are drawn from the training images.
    """
    counts = np.bincount(validation.y, minlength=len(validation.classes))
    tables = []
    for images in (validation, test):
        logits = majority_logits(counts.tolist(), images.images)
        constant = images.replaced([BASELINE], (logits[:, 1] if images.is_binary else logits)[None])
        tables.append(_fixed(data, constant))
    return pd.concat(tables, ignore_index=True)


def wide_metrics(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run with ``{split}_{metric}`` at the fixed threshold.

    The test also has the limits ``..._low`` and ``..._high``.
    """
    rows = metrics[metrics["rule"].isin(["", "fixed"])]
    wide = rows.pivot(index="run", columns=["split", "metric"], values=["value", "low", "high"])
    columns = {}
    for split in ("validation", "test"):
        here = rows.loc[rows["split"] == split, "metric"]
        for metric in dict.fromkeys(here):
            columns[f"{split}_{metric}"] = wide["value", split, metric]
            if split == "test":
                columns[f"{split}_{metric}_low"] = wide["low", split, metric]
                columns[f"{split}_{metric}_high"] = wide["high", split, metric]
    return pd.DataFrame(columns, index=wide.index).astype(float)
