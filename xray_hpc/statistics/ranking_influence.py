"""AUC and average precision with the influence of each image on them.

The influence of an image is the derivative of a metric by its weight: the first-order change if it
counted once more (infinitesimal jackknife; Jaeckel 1972). Influences of all images sum to 0, those
of a patient's images to the influence of the patient. One sort of the scores gives them all.
"""

from __future__ import annotations

import numpy as np

from xray_hpc.statistics.binary_metrics import Array, Floats


def auc_influence(y: Array, scores: Array) -> tuple[float, Floats]:
    """Return the area under the ROC curve of scores ``[N]``, and influences ``[N]``.

    Ties count one half. With the placement of an image, the share of the other class on its right
    side, the influence is ``(placement - AUC)`` by the number of images of its class (DeLong et al.
    1988). All is NaN with one class only.
    """
    positive, group, positives, negatives = _groups(y, scores)
    m, n = positives.sum(), negatives.sum()
    if not m or not n:
        return np.nan, np.full(len(positive), np.nan)
    # Groups descend: an image of the positive class is right about the negatives in later groups.
    below = n - np.cumsum(negatives) + negatives / 2
    above = np.cumsum(positives) - positives / 2
    area = float(positives @ below / (m * n))
    influence = np.where(positive, (below[group] / n - area) / m, (above[group] / m - area) / n)
    return area, influence


def average_precision_influence(y: Array, scores: Array) -> tuple[float, Floats]:
    """Return the average precision of scores ``[N]``, and influences ``[N]``.

    With ``h`` positives in the group ``g`` of a score, and ``T`` positives among ``A`` images down
    to it, ``AP = sum of h T / A / M``. An image of group ``g`` changes the terms of all groups from
    ``g`` on by ``h (y / A - T / A^2)``, and, if positive, adds one of its own, ``T / A``. All is
    NaN without positive images.
    """
    positive, group, positives, negatives = _groups(y, scores)
    m = positives.sum()
    if not m:
        return np.nan, np.full(len(positive), np.nan)
    hits = np.cumsum(positives)
    images = hits + np.cumsum(negatives)
    precision = hits / images
    value = float(positives @ precision / m)
    gain = np.cumsum((positives / images)[::-1])[::-1]
    loss = np.cumsum((positives * precision / images)[::-1])[::-1]
    own = np.where(positive, precision[group] - value + gain[group], 0.0)
    return value, (own - loss[group]) / m


def _groups(y: Array, scores: Array) -> tuple[Array, Array, Floats, Floats]:
    """Return labels ``[N]``, the group ``[N]`` of each image, and positives and negatives ``[G]``.

    A group has one score; groups descend.
    """
    positive = np.asarray(y, bool)
    values, group = np.unique(-np.asarray(scores, np.float64), return_inverse=True)
    images = np.bincount(group, minlength=len(values))
    positives = np.bincount(group[positive], minlength=len(values)).astype(np.float64)
    return positive, group, positives, images - positives
