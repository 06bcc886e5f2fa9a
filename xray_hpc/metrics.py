"""What a classifier's scores are worth: pure functions of labels and scores.

The K classes are sorted by name and a label is a position among them. Scores are probabilities
``[N, K]``. Of two classes the second is the positive one (PNEUMONIA, after NORMAL).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from xray_hpc.errors import TrainingDivergedError

Labels: TypeAlias = npt.NDArray[Any] | Sequence[int]
Scores: TypeAlias = npt.NDArray[Any] | Sequence[Sequence[float]]
Floats: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = npt.NDArray[np.int64]
Curve: TypeAlias = tuple[Floats, Floats, Floats]

THRESHOLD = 0.5
LOSS_CLIP = 1e-7  # keras.config.epsilon(): what Keras's cross-entropies clip by
MICRO, MACRO = "micro average", "macro average"


def probabilities(outputs: npt.NDArray[Any]) -> Floats:
    """Scores ``[N, K]`` of what a network gives: a sigmoid's ``p`` ``[N, 1]`` is ``[1 - p, p]``."""
    outputs = np.asarray(outputs, np.float64)
    return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs


def predicted_labels(scores: npt.NDArray[Any], threshold: float | None) -> Counts:
    """The label ``[N]`` that each image is given.

    Of two classes it is the second where its score is greater than ``threshold``; of more (where
    ``threshold`` is ``None``) the one with the highest score, the first of equals.
    """
    highest: Counts = np.argmax(scores, axis=1)
    return highest if threshold is None else (scores[:, 1] > threshold).astype(np.int64)


def decision_threshold(classes: Sequence[str]) -> float | None:
    """What the score of the second of two classes must exceed; ``None`` for more classes."""
    return THRESHOLD if len(classes) == 2 else None


def split_metrics(
    y_true: Labels, scores: Scores, classes: Sequence[str], threshold: float = THRESHOLD
) -> dict[str, Any]:
    """Measure one split: the block that ``metrics.json`` holds for it.

    A measure that the split cannot tell (any of a class without images) is None; the means over
    the classes leave it out. A class with images that is never called has precision 0.

    Args:
        y_true: ``[N]``, each 0 to K-1.
        scores: ``[N, K]`` probabilities.
        classes: K names.
        threshold: what the score of the second of two classes must exceed.

    Returns:
        - ``images``: N
        - ``loss``: cross-entropy, the mean of ``-log p`` of the true class in nats, with p clipped
          to [1e-7, 1 - 1e-7] as Keras clips it
        - ``accuracy``: share of images called right (see :func:`predicted_labels`)
        - ``balanced_accuracy``: mean over the classes of their recall
        - ``auc``: area under the ROC curve: how probably a positive image scores higher than a
          negative one, ties counting half (Hanley and McNeil, 1982). Of more than two classes the
          mean of each against the rest; ``auc_micro`` (None for two classes) pools all pairs of
          image and class instead
        - ``f1``: mean over the classes of theirs
        - ``sensitivity``: TP / (TP + FN), ``specificity``: TN / (TN + FP); ``false_negatives``
          (called 0, true 1) and ``false_positives`` (called 1, true 0): the misses;
          ``true_positives`` and ``true_negatives``: the hits. All None with more than two classes
        - ``per_class``: by name ``images``, ``precision`` (called right of those called so),
          ``recall`` (called right of those that are), ``f1`` (2 TP / (2 TP + FP + FN)), ``auc``
        - ``confusion``: ``[K][K]`` counts, a row a true class, a column a called one

    Raises:
        UserError: a score is not finite, because the training diverged.
        ValueError: the arrays are empty or not ``[N]`` and ``[N, K]``, or hold another label.
    """
    truth, p = _checked(y_true, scores, classes)
    two = len(classes) == 2
    called = predicted_labels(p, threshold if two else None)
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (truth, called), 1)
    # Of two classes the area is the same for both; from 1 - p rounding could make ties.
    columns = [1, 1] if two else range(len(classes))
    areas = [_auc(truth == column, p[:, column]) for column in columns]
    per_class = {
        name: _of_class(confusion, label) | {"auc": areas[label]}
        for label, name in enumerate(classes)
    }
    p_true = np.clip(p[np.arange(len(truth)), truth], LOSS_CLIP, 1 - LOSS_CLIP)
    micro = None if two else _auc(_one_hot(truth, len(classes)).ravel(), p.ravel())
    return {
        "images": len(truth),
        "loss": float(-np.mean(np.log(p_true))),
        "accuracy": int(np.trace(confusion)) / len(truth),
        "balanced_accuracy": _mean([block["recall"] for block in per_class.values()]),
        "auc": areas[1] if two else _mean(areas),
        "auc_micro": micro,
        "f1": _mean([block["f1"] for block in per_class.values()]),
        **_two_class_counts(confusion),
        "per_class": per_class,
        "confusion": confusion.tolist(),
    }


def roc_curves(y_true: Labels, scores: Scores, classes: Sequence[str]) -> dict[str, Curve]:
    """Trace the ROC curves: ``fpr``, ``tpr`` and ``thresholds``, each ``[P]``, by name.

    Of two classes there is one, the positive class's; of more one a class against the rest, then
    ``micro average`` (all pairs of image and class pooled) and ``macro average`` (the mean of the
    classes' curves over the false positive rate, which encloses the mean of their areas; it has no
    thresholds: NaN).

    The points are those of ``sklearn.metrics.roc_curve`` with its defaults: an image is positive
    when its score is at least the threshold, thresholds fall from infinity, and points on a
    straight line between their neighbours are left out. A rate that has no images to count is NaN.

    Raises:
        UserError, ValueError: as :func:`split_metrics`.
    """
    truth, p = _checked(y_true, scores, classes)
    if len(classes) == 2:
        return {classes[1]: _roc(truth == 1, p[:, 1])}
    curves = {name: _roc(truth == label, p[:, label]) for label, name in enumerate(classes)}
    macro = _mean_curve(list(curves.values()))
    return curves | {MICRO: _roc(_one_hot(truth, len(classes)).ravel(), p.ravel()), MACRO: macro}


def _of_class(confusion: Counts, label: int) -> dict[str, Any]:
    right = int(confusion[label, label])
    images, called = int(confusion[label].sum()), int(confusion[:, label].sum())
    if not images:
        return {"images": 0, "precision": None, "recall": None, "f1": None}
    return {
        "images": images,
        "precision": right / called if called else 0.0,
        "recall": right / images,
        "f1": 2 * right / (images + called),
    }


def _two_class_counts(confusion: Counts) -> dict[str, float | int | None]:
    names = ("false_negatives", "false_positives", "true_positives", "true_negatives")
    if len(confusion) > 2:
        return dict.fromkeys(("sensitivity", "specificity", *names))
    (tn, fp), (fn, tp) = confusion.tolist()
    return {
        "sensitivity": tp / (tp + fn) if tp + fn else None,
        "specificity": tn / (tn + fp) if tn + fp else None,
        **dict(zip(names, (fn, fp, tp, tn), strict=True)),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _auc(truth: npt.NDArray[np.bool_], p: Floats) -> float | None:
    from sklearn.metrics import roc_auc_score

    return None if truth.all() or not truth.any() else float(roc_auc_score(truth, p))


def _roc(truth: npt.NDArray[np.bool_], p: Floats) -> Curve:
    from sklearn.exceptions import UndefinedMetricWarning
    from sklearn.metrics import roc_curve

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        fpr, tpr, thresholds = roc_curve(truth, p)
    return fpr, tpr, thresholds


def _mean_curve(curves: Sequence[Curve]) -> Curve:
    """Average over the false positive rate; where curves rise upright the mean does so too."""
    known = [
        (fpr, tpr) for fpr, tpr, _ in curves if np.isfinite(fpr).all() & np.isfinite(tpr).all()
    ]
    if not known:
        nothing = np.full(2, np.nan)
        return np.array([0.0, 1.0]), nothing, nothing
    grid = np.unique(np.concatenate([fpr for fpr, _ in known]))
    # np.interp takes the last of points above each other: the upper one, or mirrored the lower.
    upper = np.mean([np.interp(grid, fpr, tpr) for fpr, tpr in known], axis=0)
    lower = np.mean([np.interp(-grid, -fpr[::-1], tpr[::-1]) for fpr, tpr in known], axis=0)
    fpr, tpr = np.repeat(grid, 2), np.stack([lower, upper], axis=1).ravel()
    new = np.concatenate([[True], (np.diff(fpr) > 0) | (np.diff(tpr) > 0)])
    return fpr[new], tpr[new], np.full(int(new.sum()), np.nan)


def _one_hot(labels: Counts, classes: int) -> npt.NDArray[np.bool_]:
    return np.asarray(labels[:, None] == np.arange(classes))


def _checked(y_true: Labels, scores: Scores, classes: Sequence[str]) -> tuple[Counts, Floats]:
    labels, p = np.asarray(y_true), np.asarray(scores, dtype=np.float64)
    wanted = (len(labels), len(classes))
    if labels.ndim != 1 or not len(labels) or p.shape != wanted or len(classes) < 2:
        raise ValueError(
            f"labels {labels.shape} must be [N] and scores {p.shape} [N, {len(classes)}], N > 0"
        )
    if not np.isin(labels, np.arange(len(classes))).all():
        raise ValueError(f"labels must be 0 to {len(classes) - 1}")
    bad = int(np.sum(~np.isfinite(p).all(axis=1)))
    if bad:
        raise TrainingDivergedError(
            f"{bad} of {len(p)} scores are not finite; the training diverged: "
            "try a lower train.learning_rate"
        )
    return labels.astype(np.int64), p
