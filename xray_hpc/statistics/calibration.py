"""Calibration: how far scores are probabilities, and temperature scaling.

Logits are those of :func:`xray_hpc.metrics.class_logits`: ``[N, K]``, the log-odds of each class
against all others; with two classes the columns are ``-x`` and ``x``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from xray_hpc.statistics.binary_metrics import Array, Floats

BINS = 15
TEMPERATURES = 0.01, 100.0
"""Bounds of a fitted temperature."""


class ReliabilityBins(NamedTuple):
    """Bins of scores, ascending, those without images left out; each ``[B]``.

    Attributes:
        bin: number of the bin, from 0.
        low: the bin holds scores above this; the first also those equal to it.
        high: and at most this.
        images: number of images.
        mean_score: their mean score.
        positive_share: the share of them that is positive.
    """

    bin: Array
    low: Floats
    high: Floats
    images: Array
    mean_score: Floats
    positive_share: Floats


def bin_numbers(scores: Array, bins: int = BINS) -> Array:
    """Return the bin of each score of equal width on [0, 1], ``(k / bins, (k + 1) / bins]``."""
    inner = np.arange(1, bins) / bins
    numbers: Array = np.searchsorted(inner, np.asarray(scores, np.float64), side="left")
    return numbers


def reliability_bins(y: Array, scores: Array, bins: int = BINS) -> ReliabilityBins:
    """Return the bins of scores ``[N]`` with labels ``[N]`` of 0 and 1."""
    numbers = bin_numbers(scores, bins)
    images = np.bincount(numbers, minlength=bins)
    used = np.flatnonzero(images)
    mean = np.bincount(numbers, np.asarray(scores, np.float64), bins)[used] / images[used]
    share = np.bincount(numbers, np.asarray(y, np.float64), bins)[used] / images[used]
    return ReliabilityBins(used, used / bins, (used + 1) / bins, images[used], mean, share)


def expected_calibration_error(y: Array, scores: Array, bins: int = BINS) -> float:
    """Return the mean over images of |share of positives - mean score| in the bin of each.

    It is the ECE of Naeini et al. (2015) on the score of the positive class. For more than two
    classes pass :func:`confidences`, as Guo et al. (2017) do.
    """
    table = reliability_bins(y, scores, bins)
    gaps = np.abs(table.positive_share - table.mean_score)
    return float(table.images @ gaps / table.images.sum())


def confidences(y: Array, logits: Array) -> tuple[Array, Floats]:
    """Return whether the class with the highest score is right, and that score; each ``[N]``."""
    from scipy.special import expit

    x = np.asarray(logits, np.float64)
    return np.argmax(x, axis=1) == np.asarray(y), expit(x.max(axis=1))


def mean_log_loss(y: Array, logits: Array) -> float:
    """Return the mean of ``-log p`` of each image's class."""
    x = np.asarray(logits, np.float64)
    return float(np.mean(np.logaddexp(0.0, -x[np.arange(len(x)), np.asarray(y)])))


def fitted_temperature(y: Array, logits: Array) -> float:
    """Return the temperature ``T`` with the smallest log-loss of ``softmax(log p / T)``.

    Temperature scaling is from Guo et al. (2017). The log-loss is convex in ``1 / T``, so a search
    between bounds finds its only minimum.

    Returns:
        NaN without a minimum: logits that rank the right class first in every image want a
        temperature of 0, and logits that tell no class from another an infinite one.
    """
    from scipy.optimize import minimize_scalar

    log_p = log_probabilities(logits)
    below_best = log_p - log_p.max(axis=1, keepdims=True)  # at most 0: exp() cannot overflow
    of_truth = below_best[np.arange(len(log_p)), np.asarray(y)]
    if not of_truth.any() or of_truth.mean() <= below_best.mean():
        return math.nan

    def loss(log_temperature: float) -> float:
        factor = math.exp(-log_temperature)
        sums = np.exp(below_best * factor).sum(axis=1)
        return float(np.mean(np.log(sums) - of_truth * factor))

    bounds = [math.log(bound) for bound in TEMPERATURES]
    options = {"xatol": 1e-8}
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options=options).x)


def scaled_logits(logits: Array, temperature: float) -> Floats:
    """Return the logits ``[N, K]`` at a temperature: the classes of an image keep their order."""
    from scipy.special import logsumexp

    x = log_probabilities(logits) / temperature
    others = [logsumexp(np.delete(x, k, axis=1), axis=1) for k in range(x.shape[1])]
    scaled: Floats = x - np.stack(others, axis=1)
    return scaled


def log_probabilities(logits: Array) -> Floats:
    """Return ``log p`` of logits ``log(p / (1 - p))``, in their shape."""
    logs: Floats = -np.logaddexp(0.0, -np.asarray(logits, np.float64))
    return logs
