"""Metrics of two classes from labels and scores, vectorised over runs.

Labels ``y`` are ``[N]``, 1 for the positive class. Scores ``[..., N]`` have any leading axes, such
as runs; metrics have the shape of these. An image is predicted positive if its score is **greater**
than the threshold, as everywhere in this project. A metric whose denominator is 0 is NaN.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Array: TypeAlias = npt.NDArray[Any]


class Counts(NamedTuple):
    """Confusion counts, each of one shape. They are floats, as weighted images count more."""

    tp: Floats
    fp: Floats
    tn: Floats
    fn: Floats


class PrecisionRecall(NamedTuple):
    """Points of a precision-recall curve ``[P]``, thresholds descending.

    ``precision`` and ``recall`` are those of predicting positive where the score is at least the
    threshold.
    """

    recall: Floats
    precision: Floats
    threshold: Floats


def confusion_counts(y: Array, scores: Array, threshold: float | Array) -> Counts:
    """Return the confusion counts ``[...]`` of scores ``[..., N]`` at a threshold, or one each."""
    positive = np.asarray(y, bool)
    predicted = np.asarray(scores) > np.asarray(threshold, np.float64)[..., None]
    tp = (predicted & positive).sum(-1).astype(np.float64)
    fp = (predicted & ~positive).sum(-1).astype(np.float64)
    return Counts(tp, fp, (~positive).sum() - fp, positive.sum() - tp)


def threshold_metrics(counts: Counts) -> dict[str, Floats]:
    """Return the metrics of confusion counts by name.

    The Matthews correlation coefficient (Matthews 1975) is NaN where a class has no image or no
    prediction; scikit-learn returns 0 there.
    """
    tp, fp, tn, fn = counts
    sensitivity, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    # Paired so that the correlation of perfect predictions is exactly 1.
    margins = np.sqrt((tp + fn) * (tp + fp)) * np.sqrt((tn + fp) * (tn + fn))
    return {
        "accuracy": _ratio(tp + tn, tp + tn + fp + fn),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": _ratio(tp, tp + fp),
        "npv": _ratio(tn, tn + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "mcc": _ratio(tp * tn - fp * fn, margins),
    }


def precision_recall(y: Array, scores: Array) -> PrecisionRecall:
    """Return the precision-recall points of scores ``[N]``, one per distinct score.

    Recall is NaN without positive images.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    ordered = np.asarray(scores, np.float64)[order]
    ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
    tp = np.cumsum(np.asarray(y, np.float64)[order])[ends]
    return PrecisionRecall(_ratio(tp, tp[-1]), tp / (ends + 1.0), ordered[ends])


def average_precision(y: Array, scores: Array) -> float:
    """Return ``sum of (R_k - R_{k-1}) P_k`` over distinct scores ``[N]``, as scikit-learn does."""
    recall, precision, _ = precision_recall(y, scores)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def log_losses(y: Array, logits: Array) -> Floats:
    """Return ``-log p`` of each image's class ``[..., N]`` from logits of the positive class."""
    sign = np.where(np.asarray(y, bool), -1.0, 1.0)
    losses: Floats = np.logaddexp(0.0, sign * np.asarray(logits, np.float64))
    return losses


def squared_errors(y: Array, scores: Array) -> Floats:
    """Return ``(score - y)^2`` ``[..., N]``; their mean is the Brier score (Brier 1950)."""
    errors: Floats = (np.asarray(scores, np.float64) - np.asarray(y, np.float64)) ** 2
    return errors


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: Floats = np.where(denominator > 0, numerator / denominator, np.nan)
    return ratio
