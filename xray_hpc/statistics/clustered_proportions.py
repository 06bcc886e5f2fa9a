"""Proportions of images that are clustered by patient, of runs on the same images."""

from __future__ import annotations

import numpy as np

from xray_hpc.statistics.binary_metrics import Array
from xray_hpc.statistics.influence_intervals import LEVEL, Estimate, wilson_limits
from xray_hpc.statistics.paired_difference import Difference
from xray_hpc.statistics.patient_sums import patient_codes, patient_sums

PROPORTIONS = ("accuracy", "sensitivity", "specificity", "ppv", "npv")


def binary_proportions(
    y: Array, scores: Array, threshold: float | Array, patients: Array
) -> dict[str, Estimate]:
    """Return the :data:`PROPORTIONS` ``[R]`` of scores ``[R, N]`` of two classes.

    Args:
        y: labels ``[N]``, 1 for the positive class.
        scores: of the positive class; an image is positive if its score is above the threshold.
        threshold: one, or one per run; with NaN all of the run is NaN.
        patients: ``[N]``, the patient of each image.
    """
    limits = np.broadcast_to(np.asarray(threshold, np.float64), len(scores))[:, None]
    known = ~np.isnan(limits)
    positive = np.broadcast_to(np.asarray(y, bool), np.shape(scores))
    predicted = np.asarray(scores) > limits
    denominators = (np.ones_like(predicted), positive, ~positive, predicted, ~predicted)
    return {
        name: proportion_estimates(predicted == positive, images & known, patients)
        for name, images in zip(PROPORTIONS, denominators, strict=True)
    }


def proportion_estimates(hits: Array, counted: Array, patients: Array) -> Estimate:
    """Return the share ``[R]`` of the counted images ``[R, N]`` that are hits, with 95 % intervals.

    Wilson's interval (1927) of the effective sample size ``n_eff = p (1 - p) / error^2``, where
    the error is that of a ratio of sums over patients (Cochran 1977, section 6.3), and with
    Student's quantile of Satterthwaite's degrees of freedom. A proportion of 0 or 1 has the number
    of patients as its sample size. With fewer than two patients there are no limits.
    """
    from scipy.stats import t

    codes, size = patient_codes(patients)
    images = patient_sums(counted, codes, size)
    found = patient_sums(np.asarray(hits, bool) & counted, codes, size)
    clusters = (images > 0).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = found.sum(axis=1) / images.sum(axis=1)
        residuals = found - p[:, None] * images
        squares = (residuals**2).sum(axis=1)
        error = np.sqrt(squares * clusters / (clusters - 1)) / images.sum(axis=1)
        spread = (residuals**4).sum(axis=1) / squares**2 - 1 / clusters
        end = (p == 0) | (p == 1)
        freedom = np.where(end, clusters - 1, np.clip(2 / spread, 1, np.maximum(clusters - 1, 1)))
        effective = np.where(end, clusters, p * (1 - p) / error**2)
        effective = np.where(clusters > 1, effective, np.nan)
        return Estimate(p, *wilson_limits(p, effective, t.ppf((1 + LEVEL) / 2, freedom)))


def accuracy_differences(correct: Array, reference: int, patients: Array) -> Difference:
    """Return the accuracy of the run ``reference`` minus that of each run ``[R]``, with its test.

    The statistic is the clustered form of McNemar's test, ``(K - 1) / K (sum d)^2 / sum d^2`` with
    the differences ``d`` of correct images per patient (Obuchowski 1998, Statistics in Medicine
    17:1495-1507), with the sign of the difference, as a normal value. The limits use the error of a
    ratio of sums over ``K`` patients and Student's quantile with ``K - 1`` degrees of freedom.

    Args:
        correct: ``[R, N]``, whether the run predicts the true label of the image.
        reference: index of a run.
        patients: ``[N]``, the patient of each image. With one patient only the values are known.
    """
    from scipy.stats import norm, t

    codes, size = patient_codes(patients)
    shrink = (size - 1) / size if size > 1 else np.nan
    right = np.asarray(correct, np.float64)
    images = right.shape[1]
    gaps = patient_sums(right[[reference]] - right, codes, size)
    counts = np.bincount(codes, minlength=size)
    value = gaps.sum(axis=1) / images
    squares = (gaps**2).sum(axis=1)
    same = squares == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = gaps.sum(axis=1) * np.sqrt(shrink / squares)
        residuals = gaps - value[:, None] * counts
        error = np.sqrt((residuals**2).sum(axis=1) / shrink) / images
    error = np.where(same | (error > 0), error, np.nan)
    half = t.ppf((1 + LEVEL) / 2, max(size - 1, 1)) * error
    p = 2 * norm.sf(np.abs(statistic))
    return Difference(
        value,
        value - half,
        value + half,
        np.where(same, 0.0, statistic),
        np.where(same, 1.0, p),
        error,
    )
