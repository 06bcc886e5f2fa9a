"""Evaluate a trained model: the scores, metrics and figures of its run."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from xray_hpc.config.run_config import RunConfig
from xray_hpc.data.dataset import Dataset
from xray_hpc.metrics import (
    MACRO,
    MICRO,
    Floats,
    class_scores,
    decision_threshold,
    logit_names,
    roc_curves,
    split_metrics,
)
from xray_hpc.models.registry import MODELS
from xray_hpc.printable import printable
from xray_hpc.records.atomic_files import write_csv
from xray_hpc.records.json_record import write_json_record
from xray_hpc.records.paths import SPLITS, RunPaths
from xray_hpc.records.run_flags import MEANINGS
from xray_hpc.records.run_metrics import RunMetrics, SplitMetrics
from xray_hpc.training import run_figures
from xray_hpc.training.find_flags import find_flags
from xray_hpc.training.fit import FitResult

logger = logging.getLogger(__name__)


def evaluate(
    fitted: FitResult, config: RunConfig, data: Dataset, paths: RunPaths
) -> dict[str, Floats]:
    """Predict the validation and test images once, and write scores, ROC, metrics and figures.

    Returns:
        The logits ``[N, K]`` of each of the two splits.
    """
    logits = {split: fitted.training_model.predict(split) for split in SPLITS}
    metrics = {
        split: _evaluate_split(logits[split], config, data, paths, split) for split in SPLITS
    }
    flags = find_flags(data, config.train.balance, fitted.history, logits["validation"], **metrics)
    for flag in flags:
        logger.warning("%s: %s.", flag.label.capitalize(), MEANINGS[flag])
    name, title = config.model.name, MODELS[config.model.name].title
    for metric in ("accuracy", "loss", "auc"):
        curve = fitted.history, metric, title, fitted.best_epoch
        run_figures.write(
            paths, f"{name}_learning_curve_{metric}", run_figures.learning_curve, *curve
        )
    model = fitted.model
    write_json_record(
        paths.metrics,
        RunMetrics(
            classes=list(data.classes),
            threshold=decision_threshold(data.classes),
            best_epoch=fitted.best_epoch,
            epochs=len(fitted.history),
            stopped_early=len(fitted.history) < config.train.epochs,
            parameters=model.count_params(),
            trainable_parameters=sum(int(np.prod(v.shape)) for v in model.trainable_variables),
            **metrics,
            flags=flags,
        ),
    )
    return logits


def _evaluate_split(
    logits: Floats, config: RunConfig, data: Dataset, paths: RunPaths, split: str
) -> SplitMetrics:
    name, title = config.model.name, MODELS[config.model.name].title
    indices = data.splits[split]
    labels = data.labels[indices]
    metrics = split_metrics(labels, logits, data.classes)
    write_csv(paths.scores(name, split), build_scores_table(data, indices, logits))
    curves = roc_curves(labels, logits, data.classes)
    tables = [
        pd.DataFrame({"fpr": fpr, "tpr": tpr, "thresholds": thresholds, "score_of": curve})
        for curve, (fpr, tpr, thresholds) in curves.items()
    ]
    table = pd.concat(tables)
    write_csv(paths.roc(name, split), table if len(curves) > 1 else table.drop(columns="score_of"))
    areas = {name: block.auc for name, block in metrics.per_class.items()}
    areas |= {MICRO: metrics.auc_micro, MACRO: metrics.auc}
    roc = curves, areas, f"{title}: ROC on {split}"
    run_figures.write(paths, f"{name}_roc_curve_{split}", run_figures.roc, *roc)
    confusion = metrics.confusion, data.classes, f"{title}: confusion on {split}"
    run_figures.write(paths, f"{name}_confusion_{split}", run_figures.confusion, *confusion)
    print(format_report(split, metrics), flush=True)
    return metrics


def build_scores_table(
    data: Dataset, indices: npt.NDArray[np.int64], logits: Floats
) -> pd.DataFrame:
    """Return a table of the images: label, scores, logits, file and patient.

    With two classes, ``y_scores`` and ``logit`` are those of the second; with more, each class has
    a column of both.
    """
    names = logit_names(data.classes)
    columns = dict(zip(names, logits.T[-len(names) :], strict=True))
    scores = {name.replace("logit", "y_scores", 1): class_scores(x) for name, x in columns.items()}
    return pd.DataFrame(
        {
            "y_true": data.labels[indices],
            **scores,
            **columns,
            "file": [data.files[i] for i in indices],
            "patient": [data.patients[i] for i in indices],
        }
    )


def format_report(split: str, metrics: SplitMetrics) -> str:
    """Return the log lines of a split: a summary, then precision, recall and F1 by class."""
    line = f"{split}: accuracy {metrics.accuracy:.3f}"
    if metrics.false_negatives is None:
        line += f", AUC {_format(metrics.auc)}"
    else:
        line += f", false negatives {metrics.false_negatives}"
        line += f", false positives {metrics.false_positives}"
    blocks = metrics.per_class
    defined = [block.precision for block in blocks.values() if block.precision is not None]
    precision, recall = sum(defined) / len(defined), metrics.balanced_accuracy
    rows: list[tuple[str, Any, Any, Any, int]] = [
        (printable(name), block.precision, block.recall, block.f1, block.images)
        for name, block in blocks.items()
    ]
    images = metrics.images
    rows += [
        ("accuracy", "", "", metrics.accuracy, images),
        ("macro mean", precision, recall, metrics.f1, images),
    ]
    width = max(len(name) for name, *_ in rows)
    head = f"  {'':{width}} {'precision':>9} {'recall':>9} {'f1':>9} {'images':>9}"
    lines = [
        f"  {name:{width}} " + " ".join(f"{_format(value):>9}" for value in values)
        for name, *values in rows
    ]
    return "\n".join([line, head, *lines])


def _format(value: float | str | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else f"{value}"
