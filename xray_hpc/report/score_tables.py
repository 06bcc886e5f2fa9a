"""Tables of single runs: precision-recall points, confusion matrices and metrics of each class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from xray_hpc.report.image_scores import Array, ImageScores
from xray_hpc.statistics.binary_metrics import precision_recall
from xray_hpc.statistics.clustered_auc import auc_components, auc_estimates
from xray_hpc.statistics.clustered_proportions import proportion_estimates
from xray_hpc.statistics.influence_intervals import Estimate
from xray_hpc.statistics.patient_estimates import score_estimates

PR = ("data", "run", "model", "split", "score_of", "recall", "precision", "threshold")
CONFUSION = ("data", "run", "split", "rule", "true", "predicted", "images")
CLASSES = ("data", "run", "split", "class", "metric", "value", "low", "high", "images")
MISSES = ("data", "split", "file", "patient", "class", "missed_by", "runs", "mean_score")
Rows = list[dict[str, Any]]


def precision_recall_tables(
    data: str, images: ImageScores, models: Mapping[str, str]
) -> Iterator[pd.DataFrame]:
    """Yield the points of each run's precision-recall curves, one for each class of several."""
    for name, score_of, y, scores in _one_vs_rest(images):
        points = precision_recall(y, scores)._asdict()
        head = {"data": data, "run": name, "model": models[name], "split": images.split}
        yield pd.DataFrame({**head, "score_of": score_of, **points})[list(PR)]


def _one_vs_rest(images: ImageScores) -> Iterator[tuple[str, str, Array, Array]]:
    for name, scores in zip(images.runs, images.scores, strict=True):
        if images.is_binary:
            yield name, images.classes[1], images.y == 1, scores
        else:
            for k, label in enumerate(images.classes):
                yield name, label, images.y == k, scores[:, k]


def confusion_rows(
    data: str, images: ImageScores, thresholds: Mapping[str, Mapping[str, float]]
) -> Rows:
    """Return the confusion counts of each run and threshold rule.

    Args:
        thresholds: by rule and run; more than two classes have the rule ``fixed`` only.
    """
    rules = thresholds if images.is_binary else {"fixed": {}}
    return [
        {**{"data": data, "run": name, "split": images.split, "rule": rule}, **cell}
        for rule, by_run in rules.items()
        for i, name in enumerate(images.runs)
        for cell in _cells(images, _predicted(images, i, by_run.get(name, 0.5)))
    ]


def _predicted(images: ImageScores, run: int, threshold: float) -> Array | None:
    if not images.is_binary:
        highest: Array = images.logits[run].argmax(axis=1)
        return highest
    return None if np.isnan(threshold) else (images.scores[run] > threshold).astype(int)


def _cells(images: ImageScores, predicted: Array | None) -> Rows:
    if predicted is None:
        return []
    classes = images.classes
    counts = np.bincount(images.y * len(classes) + predicted, minlength=len(classes) ** 2)
    pairs = [(true, label) for true in classes for label in classes]
    return [
        {"true": true, "predicted": label, "images": int(count)}
        for (true, label), count in zip(pairs, counts, strict=True)
    ]


def class_rows(data: str, images: ImageScores) -> Rows:
    """Return the metrics of each class of more than two against the rest, at the highest score."""
    rows: Rows = []
    for k, label in enumerate(images.classes):
        truth, predicted = images.y == k, images.predicted == k
        logits = images.logits[..., k] if not images.is_binary else images.logits * (2 * k - 1)
        truths = np.broadcast_to(truth, predicted.shape)
        counted = {"sensitivity": truths, "specificity": ~truths}
        counted |= {"ppv": predicted, "npv": ~predicted}
        found: dict[str, Estimate] = {
            "auc": auc_estimates(auc_components(truth, logits, images.patients)),
            **score_estimates(truth, logits, images.patients),
            **{
                name: proportion_estimates(predicted == truth, each, images.patients)
                for name, each in counted.items()
            },
        }
        rows += [
            {
                **{"data": data, "run": name, "split": images.split, "class": label},
                **{"metric": metric, "value": each.value[i], "low": each.low[i]},
                **{"high": each.high[i], "images": int(truth.sum())},
            }
            for i, name in enumerate(images.runs)
            for metric, each in found.items()
        ]
    return rows


def miss_rows(data: str, stacks: Sequence[ImageScores]) -> pd.DataFrame:
    """Return the images that runs miss at the fixed threshold, those missed by most runs first.

    ``mean_score`` is the mean score of the true class.
    """
    parts = [_missed(images) for images in stacks]
    if not parts:
        return pd.DataFrame(columns=list(MISSES))
    keys = ["split", "file", "patient", "class"]
    summed = pd.concat(parts).groupby(keys, sort=True, as_index=False).sum()
    summed["mean_score"] = summed.pop("total") / summed["runs"]
    summed.insert(0, "data", data)
    missed = summed[summed["missed_by"] > 0]
    order = pd.DataFrame({"test": missed["split"] != "test", "share": -missed["missed_by"]})
    order["share"] /= missed["runs"]
    order = order.assign(score=missed["mean_score"], file=missed["file"])
    return missed.loc[order.sort_values(list(order.columns)).index, list(MISSES)].reset_index(
        drop=True
    )


def _missed(images: ImageScores) -> pd.DataFrame:
    if images.is_binary:
        score = np.where(images.y == 1, images.scores, 1 - images.scores)
    else:
        score = images.scores[:, np.arange(images.images), images.y]
    patients = np.where(np.char.startswith(images.patients, "\0"), "", images.patients)
    return pd.DataFrame(
        {
            "split": images.split,
            "file": images.files,
            "patient": patients,
            "class": np.asarray(images.classes, dtype=object)[images.y],
            "missed_by": (images.predicted != images.y).sum(axis=0),
            "runs": len(images.runs),
            "total": score.sum(axis=0),
        }
    )
