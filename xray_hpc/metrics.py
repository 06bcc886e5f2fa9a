"""What a classifier's scores are worth: pure functions of labels and scores.

Label 1 is the second class in sorted order (PNEUMONIA, after NORMAL); a score is the model's
probability of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from xray_hpc.errors import UserError

Labels: TypeAlias = npt.NDArray[Any] | Sequence[int]
Scores: TypeAlias = npt.NDArray[Any] | Sequence[float]
Floats: TypeAlias = npt.NDArray[np.float64]

LOSS_CLIP = 1e-7  # keras.config.epsilon(): what Keras's binary_crossentropy clips by


def binary_metrics(
    y_true: Labels, scores: Scores, threshold: float = 0.5
) -> dict[str, float | int | None]:
    """Measure one split: the block that ``metrics.json`` holds for it.

    Args:
        y_true: ``[N]``, each 0 or 1.
        scores: ``[N]``, each the probability of label 1.
        threshold: an image is called positive when its score is greater, as in the tutorial.

    Returns:
        - ``images``: N
        - ``loss``: binary cross-entropy, ``-mean(y log p + (1 - y) log(1 - p))`` in nats, with
          p clipped to [1e-7, 1 - 1e-7] as Keras clips it
        - ``accuracy``: (TP + TN) / N
        - ``auc``: area under the ROC curve: how probably a positive image scores higher than a
          negative one, ties counting half (Hanley and McNeil, 1982); None with one class only
        - ``sensitivity``: TP / (TP + FN), None without positive images
        - ``specificity``: TN / (TN + FP), None without negative images
        - ``false_negatives`` (called 0, true 1) and ``false_positives`` (called 1, true 0): the
          misses; ``true_positives`` and ``true_negatives``: the hits

    Raises:
        UserError: a score is not finite, because the training diverged.
        ValueError: the arrays are empty, not ``[N]`` both, or hold another label.
    """
    truth, p = _checked(y_true, scores)
    called = p > threshold
    tp = int(np.sum(called & truth))
    tn = int(np.sum(~called & ~truth))
    fp = int(np.sum(called & ~truth))
    fn = int(np.sum(~called & truth))
    clipped = np.clip(p, LOSS_CLIP, 1 - LOSS_CLIP)
    loss = -np.mean(np.where(truth, np.log(clipped), np.log1p(-clipped)))
    return {
        "images": len(truth),
        "loss": float(loss),
        "accuracy": (tp + tn) / len(truth),
        "auc": _auc(truth, p),
        "sensitivity": tp / (tp + fn) if tp + fn else None,
        "specificity": tn / (tn + fp) if tn + fp else None,
        "false_negatives": fn,
        "false_positives": fp,
        "true_positives": tp,
        "true_negatives": tn,
    }


def roc_points(y_true: Labels, scores: Scores) -> tuple[Floats, Floats, Floats]:
    """Trace the ROC curve: ``fpr``, ``tpr`` and ``thresholds``, each ``[K]``.

    The points are those of ``sklearn.metrics.roc_curve`` with its defaults: an image is positive
    when its score is at least the threshold, thresholds fall from infinity, and points on a
    straight line between their neighbours are left out. With one class only, the rate that has
    no images to count is NaN.

    Raises:
        UserError, ValueError: as :func:`binary_metrics`.
    """
    from sklearn.exceptions import UndefinedMetricWarning
    from sklearn.metrics import roc_curve

    truth, p = _checked(y_true, scores)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        fpr, tpr, thresholds = roc_curve(truth, p)
    return fpr, tpr, thresholds


def _auc(truth: npt.NDArray[np.bool_], p: Floats) -> float | None:
    from sklearn.metrics import roc_auc_score

    return None if truth.all() or not truth.any() else float(roc_auc_score(truth, p))


def _checked(y_true: Labels, scores: Scores) -> tuple[npt.NDArray[np.bool_], Floats]:
    labels = np.asarray(y_true)
    p = np.asarray(scores, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != p.shape or not len(labels):
        raise ValueError(f"labels {labels.shape} and scores {p.shape} must both be [N], N > 0")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    bad = int(np.sum(~np.isfinite(p)))
    if bad:
        raise UserError(
            f"{bad} of {len(p)} scores are not finite; the training diverged: "
            "try a lower train.learning_rate"
        )
    return labels == 1, p
