"""Classification metrics and ROC curves, as pure functions of labels and scores.

The K classes are sorted by name and a label is an index into them. Scores are probabilities of
shape ``[N, K]``. With two classes the second one is positive (PNEUMONIA, after NORMAL).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from xray_hpc.errors import TrainingDivergedError
from xray_hpc.records.run_metrics import ClassMetrics, SplitMetrics

Labels: TypeAlias = npt.NDArray[Any] | Sequence[int]
Scores: TypeAlias = npt.NDArray[Any] | Sequence[Sequence[float]]
Floats: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = npt.NDArray[np.int64]
Curve: TypeAlias = tuple[Floats, Floats, Floats]

THRESHOLD = 0.5
LOSS_CLIP = 1e-7  # keras.config.epsilon(), by which the cross-entropies of Keras clip
MICRO, MACRO = "micro average", "macro average"


def probabilities(outputs: npt.NDArray[Any]) -> Floats:
    """Return scores ``[N, K]`` for the outputs of a network.

    The output ``p`` ``[N, 1]`` of a sigmoid becomes ``[1 - p, p]``; a softmax output is unchanged.
    """
    outputs = np.asarray(outputs, np.float64)
    return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs


def predicted_labels(scores: npt.NDArray[Any], threshold: float | None) -> Counts:
    """Return the predicted label ``[N]`` of each image from scores ``[N, K]``.

    It is the second of two classes if its score is greater than ``threshold``; with ``None`` it is
    the class with the highest score (the first of equal ones).
    """
    highest: Counts = np.argmax(scores, axis=1)
    return highest if threshold is None else (scores[:, 1] > threshold).astype(np.int64)


def decision_threshold(classes: Sequence[str]) -> float | None:
    """Return the decision threshold on the second of two classes; ``None`` for more classes."""
    return THRESHOLD if len(classes) == 2 else None


def split_metrics(
    y_true: Labels, scores: Scores, classes: Sequence[str], threshold: float = THRESHOLD
) -> SplitMetrics:
    """Compute the metrics of one split, as stored in ``metrics.json``.

    A metric that is undefined on the split (for example any metric of a class without images) is
    None, and means over the classes leave it out. The precision of a class that is never predicted
    is 0, as in scikit-learn with ``zero_division=0``.

    Args:
        y_true: ``[N]``, each 0 to K-1.
        scores: ``[N, K]`` probabilities.
        classes: K names.
        threshold: decision threshold on the second of two classes.

    Raises:
        TrainingDivergedError: a score is not finite.
        ValueError: the arrays are empty, not ``[N]`` and ``[N, K]``, or hold another label.
    """
    truth, p = _validated(y_true, scores, classes)
    two = len(classes) == 2
    predicted = predicted_labels(p, threshold if two else None)
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    # Both classes of two have the same area; rounding of 1 - p could introduce ties.
    columns = [1, 1] if two else range(len(classes))
    areas = [_auc(truth == column, p[:, column]) for column in columns]
    rows = enumerate(classes)
    per_class = {name: _class_metrics(confusion, label, areas[label]) for label, name in rows}
    p_true = np.clip(p[np.arange(len(truth)), truth], LOSS_CLIP, 1 - LOSS_CLIP)
    micro = None if two else _auc(_one_hot(truth, len(classes)).ravel(), p.ravel())
    tn, fp, fn, tp = confusion.ravel().tolist() if two else [None] * 4
    return SplitMetrics(
        images=len(truth),
        accuracy=int(np.trace(confusion)) / len(truth),
        balanced_accuracy=_mean([block.recall for block in per_class.values()]),
        f1=_mean([block.f1 for block in per_class.values()]),
        auc=areas[1] if two else _mean(areas),
        auc_micro=micro,
        sensitivity=per_class[classes[1]].recall if two else None,
        specificity=per_class[classes[0]].recall if two else None,
        false_negatives=fn,
        false_positives=fp,
        true_positives=tp,
        true_negatives=tn,
        loss=float(-np.mean(np.log(p_true))),
        per_class=per_class,
        confusion=confusion.tolist(),
    )


def roc_curves(y_true: Labels, scores: Scores, classes: Sequence[str]) -> dict[str, Curve]:
    """Compute ROC curves: ``fpr``, ``tpr`` and ``thresholds``, each ``[P]``, by curve name.

    Two classes have one curve, that of the positive class. More classes have a one-vs-rest curve
    each, then ``micro average`` (all pairs of image and class pooled) and ``macro average`` (the
    mean of the classes' curves over the false positive rate; its area is the mean of their areas,
    and its thresholds are NaN).

    The points are those of ``sklearn.metrics.roc_curve`` with its defaults: an image is positive
    if its score is at least the threshold, thresholds descend from infinity, and collinear points
    are dropped. A rate without images in its denominator is NaN.

    Raises:
        TrainingDivergedError, ValueError: as :func:`split_metrics`.
    """
    truth, p = _validated(y_true, scores, classes)
    if len(classes) == 2:
        return {classes[1]: _roc(truth == 1, p[:, 1])}
    curves = {name: _roc(truth == label, p[:, label]) for label, name in enumerate(classes)}
    macro = _mean_curve(list(curves.values()))
    return curves | {MICRO: _roc(_one_hot(truth, len(classes)).ravel(), p.ravel()), MACRO: macro}


def _class_metrics(confusion: Counts, label: int, auc: float | None) -> ClassMetrics:
    tp = int(confusion[label, label])
    images, predicted = int(confusion[label].sum()), int(confusion[:, label].sum())
    if not images:
        return ClassMetrics(0, None, None, None, auc)
    precision = tp / predicted if predicted else 0.0
    return ClassMetrics(images, precision, tp / images, 2 * tp / (images + predicted), auc)


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
    """Average curves over the false positive rate, keeping their vertical steps."""
    known = [(fpr, tpr) for fpr, tpr, _ in curves if np.isfinite([fpr, tpr]).all()]
    if not known:
        undefined = np.full(2, np.nan)
        return np.array([0.0, 1.0]), undefined, undefined
    grid = np.unique(np.concatenate([fpr for fpr, _ in known]))
    # At a vertical step np.interp returns the last point: the upper one, or mirrored the lower.
    upper = np.mean([np.interp(grid, fpr, tpr) for fpr, tpr in known], axis=0)
    lower = np.mean([np.interp(-grid, -fpr[::-1], tpr[::-1]) for fpr, tpr in known], axis=0)
    fpr, tpr = np.repeat(grid, 2), np.stack([lower, upper], axis=1).ravel()
    distinct = np.concatenate([[True], (np.diff(fpr) > 0) | (np.diff(tpr) > 0)])
    return fpr[distinct], tpr[distinct], np.full(int(distinct.sum()), np.nan)


def _one_hot(labels: Counts, classes: int) -> npt.NDArray[np.bool_]:
    return np.asarray(labels[:, None] == np.arange(classes))


def _validated(y_true: Labels, scores: Scores, classes: Sequence[str]) -> tuple[Counts, Floats]:
    labels, p = np.asarray(y_true), np.asarray(scores, dtype=np.float64)
    expected = (len(labels), len(classes))
    if labels.ndim != 1 or not len(labels) or p.shape != expected or len(classes) < 2:
        raise ValueError(
            f"labels {labels.shape} must be [N] and scores {p.shape} [N, {len(classes)}], N > 0"
        )
    if not np.isin(labels, np.arange(len(classes))).all():
        raise ValueError(f"labels must be 0 to {len(classes) - 1}")
    if not_finite := int(np.sum(~np.isfinite(p).all(axis=1))):
        raise TrainingDivergedError(
            f"{not_finite} of {len(p)} scores are not finite: the training diverged; "
            "try a lower train.learning_rate"
        )
    return labels.astype(np.int64), p
