"""Metrics of more than two classes: averages over the classes, and a baseline.

Logits ``[N, K]`` are the log-odds of each class against all others. The predicted class is the one
with the highest logit, the first of equal ones. ``macro`` is the mean over the classes that have
images, each against the rest; ``micro`` pools all pairs of image and class. The micro average of
F1, precision and recall is the accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from xray_hpc.statistics.binary_metrics import Array, Floats
from xray_hpc.statistics.ranking_influence import auc_influence, average_precision_influence

Influence: TypeAlias = tuple[float, Floats]
"""A metric and the influence ``[N]`` of each image on it."""


def ranking_influences(y: Array, logits: Array) -> dict[str, Influence]:
    """Return macro and micro averages of AUC and average precision."""
    x, truth = np.asarray(logits, np.float64), np.asarray(y, np.int64)
    return {
        "auc": _macro(auc_influence, truth, x),
        "auc_micro": _micro(auc_influence, truth, x),
        "average_precision": _macro(average_precision_influence, truth, x),
        "average_precision_micro": _micro(average_precision_influence, truth, x),
    }


def mean_influences(y: Array, logits: Array) -> dict[str, Influence]:
    """Return log-loss and Brier score.

    The loss is the mean of ``-log p`` of an image's class, the Brier score (Brier 1950) that of
    the squared errors summed over the classes, 0 to 2.
    """
    from scipy.special import expit

    x, truth = np.asarray(logits, np.float64), np.asarray(y, np.int64)
    of_truth = x[np.arange(len(x)), truth]
    errors = ((expit(x) - _one_hot(truth, x.shape[1])) ** 2).sum(axis=1)
    means = {"loss": np.logaddexp(0.0, -of_truth), "brier": errors}
    return {
        name: (float(each.mean()), (each - each.mean()) / len(each)) for name, each in means.items()
    }


def confusion_metrics(confusion: Floats, present: Array) -> dict[str, Floats]:
    """Return balanced accuracy, macro F1 and the correlation of confusion matrices ``[B, K, K]``.

    ``mcc`` is ``R_K`` of Gorodkin (2004), for two classes Matthews' coefficient.

    Args:
        confusion: rows are true classes, columns predicted ones.
        present: the classes over which means are taken; a matrix without one of them has NaN.
    """
    right = np.diagonal(confusion, axis1=1, axis2=2)
    true, predicted, total = confusion.sum(2), confusion.sum(1), confusion.sum((1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(true > 0, right / true, np.nan)[:, present]
        f1 = np.where(true > 0, 2 * right / (true + predicted), np.nan)[:, present]
        covariance = right.sum(1) * total - (true * predicted).sum(1)
        spread = np.sqrt((total**2 - (predicted**2).sum(1)) * (total**2 - (true**2).sum(1)))
        mcc = np.where(spread > 0, covariance / spread, np.nan)
    return {"balanced_accuracy": recall.mean(1), "f1": f1.mean(1), "mcc": mcc}


def majority_logits(training_images: Sequence[int], images: int) -> Floats:
    """Return the logits ``[images, K]`` of a baseline that knows only how frequent classes are.

    Each image has the share of each class as its score, so that the most frequent class of the
    training images is predicted, and of equally frequent ones the first. A class without training
    images counts as half an image, as its logit would be infinite.
    """
    counts = np.maximum(np.asarray(training_images, np.float64), 0.5)
    logits = np.log(counts / (counts.sum() - counts))
    return np.tile(logits, (images, 1))


def _macro(metric: Callable[[Array, Array], Influence], truth: Array, x: Floats) -> Influence:
    each = [metric(truth == k, x[:, k]) for k in np.unique(truth)]
    influence: Floats = np.mean([influence for _, influence in each], axis=0)
    return float(np.mean([value for value, _ in each])), influence


def _micro(metric: Callable[[Array, Array], Influence], truth: Array, x: Floats) -> Influence:
    value, influence = metric(_one_hot(truth, x.shape[1]).ravel(), x.ravel())
    return value, influence.reshape(x.shape).sum(axis=1)


def _one_hot(truth: Array, classes: int) -> Array:
    return np.asarray(truth[:, None] == np.arange(classes))
