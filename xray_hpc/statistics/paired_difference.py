"""The difference of a metric between two models on the same images, and its test."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xray_hpc.statistics.binary_metrics import Floats
from xray_hpc.statistics.influence_intervals import LEVEL

POWER = 0.8


class Difference(NamedTuple):
    """Differences with 95 % limits, the test statistic, its two-sided p value, and the error.

    Each is ``[R]``. All but ``value`` are NaN where the difference has no estimable error. Equal
    models have a statistic of 0 and a p value of 1.
    """

    value: Floats
    low: Floats
    high: Floats
    statistic: Floats
    p: Floats
    error: Floats


def normal_difference(value: Floats, variance: Floats) -> Difference:
    """Return differences whose estimate is normal, with the given variances ``[R]``."""
    from scipy.stats import norm

    none = variance < 1e-15  # the rounding of sums
    same = none & (np.abs(value) < 1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(none, np.nan, np.sqrt(variance))
        statistic = value / error
    half = norm.ppf((1 + LEVEL) / 2) * error
    p = 2 * norm.sf(np.abs(statistic))
    return Difference(
        value,
        np.where(same, 0.0, value - half),
        np.where(same, 0.0, value + half),
        np.where(same, 0.0, statistic),
        np.where(same, 1.0, p),
        np.where(same, 0.0, error),
    )


def holm(p: Floats) -> Floats:
    """Return p values ``[C]`` adjusted for ``C`` comparisons (Holm 1979); NaN stays NaN.

    A comparison without a p value still counts among the ``C``.
    """
    p = np.asarray(p, np.float64)
    order = np.argsort(p, kind="stable")  # NaN last
    factors = np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1.0)
    return adjusted


def detectable_difference(error: float | Floats, comparisons: int = 1) -> Floats:
    """Return the smallest difference that a test of this error finds with a power of 80 %.

    ``(z(1 - alpha / 2) + z(0.8)) error`` with ``alpha = 0.05 / comparisons``.
    """
    from scipy.stats import norm

    alpha = (1 - LEVEL) / comparisons
    size: Floats = (norm.ppf(1 - alpha / 2) + norm.ppf(POWER)) * np.asarray(error, np.float64)
    return size
