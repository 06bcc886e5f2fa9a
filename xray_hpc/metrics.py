"""Classification metrics and ROC curves, as pure functions of labels and logits.

The K classes are sorted by name and a label is an index into them. With two classes the second one
is positive (PNEUMONIA, after NORMAL). Logits ``[N, K]`` are the log-odds of each class against all
others, ``log(p / (1 - p))`` of its score ``p``, in float64. Images are ranked by logits: they have
the order of the scores, which saturate (in float32 every logit above 17 has the score 1.0).
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
Logits: TypeAlias = npt.NDArray[Any] | Sequence[Sequence[float]]
Floats: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = npt.NDArray[np.int64]
Curve: TypeAlias = tuple[Floats, Floats, Floats]

THRESHOLD = 0.5
MICRO, MACRO = "micro average", "macro average"


def class_logits(outputs: npt.NDArray[Any]) -> Floats:
    """Return logits ``[N, K]`` for the outputs ``x`` of a network before its activation.

    ``[N, 1]`` of a sigmoid becomes ``[-x, x]``. Of a softmax over ``[N, K]``, the logit of class k
    is ``x_k - log(sum of exp(x_j) over j != k)``. Sorting and the subtraction of the maximum give
    images with equal scores equal logits.
    """
    x = np.asarray(outputs, np.float64)
    if x.shape[1] == 1:
        return np.hstack([-x, x])
    with np.errstate(invalid="ignore"):  # outputs that are not finite have no finite logits
        x = x - x.max(axis=1, keepdims=True)
        others = [np.sort(np.delete(x, k, axis=1), axis=1) for k in range(x.shape[1])]
        sums = np.stack([np.logaddexp.reduce(one, axis=1) for one in others], axis=1)
        logits: Floats = x - sums
    return logits


def class_scores(logits: npt.NDArray[Any]) -> Floats:
    """Return the scores ``1 / (1 + exp(-logit))``, in the shape of the logits."""
    from scipy.special import expit

    scores: Floats = expit(np.asarray(logits, np.float64))
    return scores


def logit_names(classes: Sequence[str]) -> list[str]:
    """Return the column names of the logits: of the second of two classes only, else of all."""
    return ["logit"] if len(classes) == 2 else [f"logit_{name}" for name in classes]


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
    y_true: Labels, logits: Logits, classes: Sequence[str], threshold: float = THRESHOLD
) -> SplitMetrics:
    """Compute the metrics of one split, as stored in ``metrics.json``.

    A metric that is undefined on the split (for example any metric of a class without images) is
    None, and means over the classes leave it out. The precision of a class that is never predicted
    is 0, as in scikit-learn with ``zero_division=0``.

    Args:
        y_true: ``[N]``, each 0 to K-1.
        logits: ``[N, K]``, as from :func:`class_logits`.
        classes: K names.
        threshold: decision threshold on the score of the second of two classes.

    Raises:
        TrainingDivergedError: a logit is not finite.
        ValueError: the arrays are empty, not ``[N]`` and ``[N, K]``, or hold another label.
    """
    truth, x = _validated(y_true, logits, classes)
    two = len(classes) == 2
    predicted = predicted_labels(class_scores(x), threshold if two else None)
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    columns = [1, 1] if two else range(len(classes))  # both classes of two have the same area
    areas = [_auc(truth == column, x[:, column]) for column in columns]
    rows = enumerate(classes)
    per_class = {name: _class_metrics(confusion, label, areas[label]) for label, name in rows}
    x_true = x[np.arange(len(truth)), truth]
    micro = None if two else _auc(_one_hot(truth, len(classes)).ravel(), x.ravel())
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
        loss=float(np.mean(np.logaddexp(0, -x_true))),
        tied=max(map(_tied, x.T)),
        per_class=per_class,
        confusion=confusion.tolist(),
    )


def roc_curves(y_true: Labels, logits: Logits, classes: Sequence[str]) -> dict[str, Curve]:
    """Compute ROC curves: ``fpr``, ``tpr`` and ``thresholds``, each ``[P]``, by curve name.

    Two classes have one curve, that of the positive class. More classes have a one-vs-rest curve
    each, then ``micro average`` (all pairs of image and class pooled) and ``macro average`` (the
    mean of the classes' curves over the false positive rate; its area is the mean of their areas,
    and its thresholds are NaN).

    The points are those of ``sklearn.metrics.roc_curve`` on the logits, with its defaults: an image
    is positive if its score is at least the threshold, thresholds descend from infinity, and
    collinear points are dropped. Thresholds are scores; different logits may round to one score. A
    rate without images in its denominator is NaN.

    Raises:
        TrainingDivergedError, ValueError: as :func:`split_metrics`.
    """
    truth, x = _validated(y_true, logits, classes)
    if len(classes) == 2:
        return {classes[1]: _roc(truth == 1, x[:, 1])}
    curves = {name: _roc(truth == label, x[:, label]) for label, name in enumerate(classes)}
    macro = _mean_curve(list(curves.values()))
    return curves | {MICRO: _roc(_one_hot(truth, len(classes)).ravel(), x.ravel()), MACRO: macro}


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


def _tied(x: Floats) -> float:
    """Return the share of values ``[N]`` that equal another one."""
    counts = np.unique(x, return_counts=True)[1]
    return int(counts[counts > 1].sum()) / len(x)


def _auc(truth: npt.NDArray[np.bool_], x: Floats) -> float | None:
    from sklearn.metrics import roc_auc_score

    return None if truth.all() or not truth.any() else float(roc_auc_score(truth, x))


def _roc(truth: npt.NDArray[np.bool_], x: Floats) -> Curve:
    from sklearn.exceptions import UndefinedMetricWarning
    from sklearn.metrics import roc_curve

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        fpr, tpr, thresholds = roc_curve(truth, x)
    return fpr, tpr, np.append(np.inf, class_scores(thresholds[1:]))


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


def _validated(y_true: Labels, logits: Logits, classes: Sequence[str]) -> tuple[Counts, Floats]:
    labels, x = np.asarray(y_true), np.asarray(logits, dtype=np.float64)
    expected = (len(labels), len(classes))
    if labels.ndim != 1 or not len(labels) or x.shape != expected or len(classes) < 2:
        raise ValueError(
            f"labels {labels.shape} must be [N] and logits {x.shape} [N, {len(classes)}], N > 0"
        )
    if not np.isin(labels, np.arange(len(classes))).all():
        raise ValueError(f"labels must be 0 to {len(classes) - 1}")
    if not_finite := int(np.sum(~np.isfinite(x).all(axis=1))):
        raise TrainingDivergedError(
            f"{not_finite} of {len(x)} scores are not finite: the training diverged; "
            "try a lower train.learning_rate"
        )
    return labels.astype(np.int64), x
