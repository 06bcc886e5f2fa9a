"""Decision thresholds chosen on validation scores.

A threshold lies midway between two neighbouring distinct scores, as in pROC (Robin et al. 2011), so
that ``score > threshold`` and ``score >= threshold`` agree on the validation images. It is ``-inf``
if the rule calls every image positive, and ``inf`` if it calls none so.
"""

from __future__ import annotations

import math

import numpy as np

from xray_hpc.statistics.binary_metrics import Array, Floats

FIXED = 0.5
SENSITIVITY, SPECIFICITY = 0.95, 0.90

RULES = ("fixed", "youden", "sensitivity", "specificity")
"""Names of the rules that :func:`chosen_thresholds` applies."""


def chosen_thresholds(
    y: Array, scores: Array, sensitivity: float = SENSITIVITY, specificity: float = SPECIFICITY
) -> dict[str, float]:
    """Return the threshold of each rule, chosen on the scores ``[N]`` of the positive class.

    - ``fixed``: 0.5, whatever the scores.
    - ``youden``: the highest sensitivity + specificity - 1 (Youden 1950); of equally good ones the
      highest threshold.
    - ``sensitivity``: the highest threshold with at least this sensitivity.
    - ``specificity``: the lowest threshold with at least this specificity.

    Those of the last three are NaN with one class only or equal scores.

    Raises:
        ValueError: a target is not above 0 and at most 1.
    """
    for target in (sensitivity, specificity):
        if not 0 < target <= 1:
            raise ValueError(f"a target of {target} is not above 0 and at most 1")
    positive = np.asarray(y, bool)
    distinct, group = np.unique(np.asarray(scores, np.float64), return_inverse=True)
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n or len(distinct) < 2:
        return {rule: FIXED if rule == "fixed" else math.nan for rule in RULES}
    thresholds = candidate_thresholds(distinct)
    # Integer counts of the images below each threshold, so that ties are exact.
    below = np.zeros((2, len(thresholds)), np.int64)
    np.cumsum(np.bincount(group[positive], minlength=len(distinct)), out=below[0, 1:])
    np.cumsum(np.bincount(group[~positive], minlength=len(distinct)), out=below[1, 1:])
    tp, tn = m - below[0], below[1]
    youden = tp * n + tn * m
    return {
        "fixed": FIXED,
        "youden": float(thresholds[np.flatnonzero(youden == youden.max())[-1]]),
        "sensitivity": float(thresholds[np.flatnonzero(tp >= _needed(sensitivity, m))[-1]]),
        "specificity": float(thresholds[np.flatnonzero(tn >= _needed(specificity, n))[0]]),
    }


def candidate_thresholds(distinct: Floats) -> Floats:
    """Return ``-inf``, the midpoints of ascending distinct scores ``[D]``, ``inf``: ``[D + 1]``."""
    low, high = distinct[:-1], distinct[1:]
    middle = low + (high - low) / 2
    # The midpoint of neighbouring floats rounds to one of them: to the lower one here, as an image
    # with the higher one is positive.
    middle = np.where(middle < high, middle, low)
    return np.concatenate([[-np.inf], middle, [np.inf]])


def _needed(target: float, images: int) -> int:
    """Return the smallest count with ``count / images >= target``, despite rounding."""
    return math.ceil(target * images - 1e-9)
