"""The area under the ROC curve of runs on the same images, which are clustered by patient.

The variance is that of Obuchowski (1997, Biometrics 53:567-578): DeLong's (1988), with the sums
over each patient's images in the place of single images. With one image per patient both are equal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xray_hpc.statistics.binary_metrics import Array, Floats
from xray_hpc.statistics.influence_intervals import LEVEL, Estimate
from xray_hpc.statistics.paired_difference import Difference, normal_difference
from xray_hpc.statistics.patient_sums import patient_codes, patient_sums

NO_VARIANCE = 1e-15  # below it a variance is the rounding of sums


class AucComponents(NamedTuple):
    """The AUC of ``R`` runs and what each of ``P`` patients contributes to its variance.

    ``positive`` and ``negative`` hold, per patient, the sum of ``placement - AUC`` over the
    positive and the negative images, where the placement of an image is the share of the other
    class on its right side (``V10`` and ``V01`` of DeLong).
    """

    value: Floats  # [R]
    positive: Floats  # [R, P]
    negative: Floats  # [R, P]
    images: tuple[int, int]  # positive and negative
    patients: tuple[int, int]  # with a positive and with a negative image
    constant: Array  # [R], whether all images have the same score


def auc_components(y: Array, scores: Array, patients: Array) -> AucComponents:
    """Return the AUC of scores ``[R, N]``, ties counting one half, and its components.

    Args:
        y: labels ``[N]``, 1 for the positive class.
        scores: ``[R, N]``, higher for the positive class.
        patients: ``[N]``, the patient of each image.
    """
    from scipy.stats import rankdata

    x, positive = np.asarray(scores, np.float64), np.asarray(y, bool)
    codes, size = patient_codes(patients)
    m, n = int(positive.sum()), int((~positive).sum())
    of_classes = (len(np.unique(codes[positive])), len(np.unique(codes[~positive])))
    placements = np.full(x.shape, np.nan)
    if m and n:
        ranks = rankdata(x, axis=1)
        placements[:, positive] = (ranks - _within(x, positive))[:, positive] / n
        placements[:, ~positive] = 1 - (ranks - _within(x, ~positive))[:, ~positive] / m
    value = placements[:, positive].mean(axis=1) if m else np.full(len(x), np.nan)
    centred = placements - value[:, None]
    return AucComponents(
        value,
        patient_sums(np.where(positive, centred, 0.0), codes, size),
        patient_sums(np.where(positive, 0.0, centred), codes, size),
        (m, n),
        of_classes,
        (x == x[:, :1]).all(axis=1),
    )


def _within(x: Floats, chosen: Array) -> Floats:
    """Return the ranks among the chosen images, ``[R, N]``, 0 for the others."""
    from scipy.stats import rankdata

    ranks = np.zeros_like(x)
    ranks[:, chosen] = rankdata(x[:, chosen], axis=1)
    return ranks


def auc_covariance(first: AucComponents, second: AucComponents) -> Floats:
    """Return the covariance ``[R]`` of each AUC with that of the other run, or its variance.

    ``S10 / M + S01 / N + (S11 + S11') / (M N)`` of Obuchowski (1997). Either argument may have one
    run. With fewer than two patients in a class it is infinite or NaN.
    """
    (m, n), (with_positive, with_negative) = first.images, first.patients
    size = first.positive.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        cross = (first.positive * second.negative + first.negative * second.positive).sum(axis=1)
        covariance: Floats = (
            _small_sample(with_positive) * (first.positive * second.positive).sum(axis=1) / m**2
            + _small_sample(with_negative) * (first.negative * second.negative).sum(axis=1) / n**2
            + _small_sample(size) * cross / (m * n)
        )
    return covariance


def auc_estimates(components: AucComponents) -> Estimate:
    """Return the AUC ``[R]`` with 95 % intervals.

    The log-odds of the AUC move by Student's quantile with Satterthwaite's degrees of freedom.
    Where that has no variance (an AUC of 0 or 1) the limits are those of :func:`newcombe_limits`
    of the numbers of patients. A constant score has no interval.
    """
    from scipy.special import expit, logit
    from scipy.stats import t

    value, size = components.value, components.positive.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.maximum(auc_covariance(components, components), 0.0))
        m, n = components.images
        influence = components.positive / m + components.negative / n
        spread = (influence**4).sum(axis=1) / (influence**2).sum(axis=1) ** 2
        freedom = np.clip(2 / (spread - 1 / size), 1, max(1, size - 1))
        half = t.ppf((1 + LEVEL) / 2, freedom) * error / (value * (1 - value))
        low, high = expit(logit(value) - half), expit(logit(value) + half)
    low, high = np.where(half < np.inf, low, np.nan), np.where(half < np.inf, high, np.nan)
    for run in np.flatnonzero(error**2 < NO_VARIANCE):
        low[run], high[run] = newcombe_limits(float(value[run]), *components.patients)
    low[components.constant] = high[components.constant] = np.nan
    return Estimate(value, low, high)


def newcombe_limits(auc: float, positives: int, negatives: int) -> tuple[float, float]:
    """Return the 95 % limits of an AUC by the score-type interval, which is defined at 0 and 1.

    Method 5 of Newcombe (2006, Statistics in Medicine 25:559-573): the roots of
    ``|AUC - x| = z sqrt(V(x))`` with the variance of Hanley and McNeil (1982) for exponential
    scores, whose ``m`` and ``n`` are replaced by ``(m + n) / 2``. NaN without two classes.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    if not positives or not negatives or not 0 <= auc <= 1:
        return np.nan, np.nan
    z, pairs = norm.ppf((1 + LEVEL) / 2), positives * negatives
    extra = (positives + negatives) / 2 - 1

    def gap(x: float) -> float:
        variance = x * (1 - x) * (1 + extra * (1 - x) / (2 - x) + extra * x / (1 + x)) / pairs
        return float((auc - x) ** 2 - z**2 * variance)

    # The gap is 0 at the AUC itself if that is 0 or 1, so the search begins just beside it.
    low = 0.0 if auc == 0 else float(brentq(gap, 0.0, auc - 1e-9 * (auc == 1), xtol=1e-14))
    high = 1.0 if auc == 1 else float(brentq(gap, auc + 1e-9 * (auc == 0), 1.0, xtol=1e-14))
    return low, high


def auc_differences(components: AucComponents, reference: int) -> Difference:
    """Return the AUC of the run ``reference`` minus that of each run ``[R]``, with its test.

    The paired test of Obuchowski (1997): ``z = (A1 - A2) / sqrt(V1 + V2 - 2 C12)``.
    """
    one = AucComponents(
        components.value[[reference]],
        components.positive[[reference]],
        components.negative[[reference]],
        *components[3:],
    )
    variance = (
        auc_covariance(one, one)
        + auc_covariance(components, components)
        - 2 * auc_covariance(one, components)
    )
    return normal_difference(one.value - components.value, variance)


def _small_sample(patients: int) -> float:
    """Return ``I / (I - 1)``, NaN with fewer than two patients."""
    return patients / (patients - 1) if patients > 1 else np.nan
