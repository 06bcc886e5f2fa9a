"""95 % intervals clustered by patient from the influence of each patient on a metric.

The influence ``u_p`` of a patient is the change of the metric by this patient, to first order; the
variance is ``P / (P - 1) sum of u_p^2`` over the ``P`` patients. It is the ratio estimator of
surveys for a mean, and the infinitesimal or the delete-one jackknife for others (Efron and
Tibshirani 1993, chapters 11 and 21). The quantile is Student's with Satterthwaite's
``2 / (sum u^4 / (sum u^2)^2 - 1 / P)`` degrees of freedom, within 1 and ``P - 1``, so that an
interval is wider if a few patients decide the value.

Percentiles of a bootstrap by patient cover the truth less often, need thousands of resamples and a
seed: see docs/explanation/statistics.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from xray_hpc.statistics.binary_metrics import Floats

LEVEL = 0.95


class Estimate(NamedTuple):
    """A value and the limits of its 95 % interval, NaN where not estimable; each ``[R]``."""

    value: Floats
    low: Floats
    high: Floats


class _Spread(NamedTuple):
    """Standard error and Student quantile, each ``[R]``, and the patients at a perfect value."""

    error: Floats
    quantile: Floats
    patients: float


_Limits: TypeAlias = tuple[Floats, Floats]
_Scale: TypeAlias = Callable[[Floats, _Spread], _Limits]


def influence_interval(
    name: str, value: Floats, influence: Floats, effective_patients: float
) -> Estimate:
    """Return the estimate of a metric.

    Limits are NaN where the metric or an influence is undefined, and where no patient has an
    influence (a constant score), unless the value is the best or worst possible.

    Args:
        name: a metric of :data:`SCALES`.
        value: ``[R]``, of all patients.
        influence: ``[R, P]``, of each patient.
        effective_patients: as from :func:`effective_patients`.
    """
    from scipy.stats import t

    patients = influence.shape[1]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        squares = (influence**2).sum(axis=1)
        error = np.sqrt(squares * patients / (patients - 1)) if patients > 1 else squares * np.nan
        error = np.where(error < 1e-12, 0.0, error)  # differences of rounding
        spread = (influence**4).sum(axis=1) / squares**2 - 1 / patients
        freedom = np.clip(2 / spread, 1, max(1, patients - 1))
        quantile = t.ppf((1 + LEVEL) / 2, freedom)
        low, high = SCALES[name](value, _Spread(error, quantile, effective_patients))
    known = np.isfinite(low) & np.isfinite(high)
    return Estimate(value, np.where(known, low, np.nan), np.where(known, high, np.nan))


def jackknife_influence(without: Floats) -> Floats:
    """Return the influence ``[R, P]`` from the values ``[R, P]`` without each patient."""
    patients = without.shape[1]
    influence: Floats = (without.mean(axis=1, keepdims=True) - without) * (patients - 1) / patients
    return influence


def effective_patients(patients_of_classes: Floats) -> float:
    """Return the number of patients that a mean over the ``K`` classes rests on.

    It is ``K^2 / sum of 1 / P_k``, all patients if the classes have equally many.
    """
    counts = np.asarray(patients_of_classes, np.float64)
    with np.errstate(divide="ignore"):
        return float(len(counts) ** 2 / (1 / counts).sum())


def _wilson(value: Floats, spread: _Spread) -> _Limits:
    """Apply Wilson's interval (1927) with the sample size that has this error.

    A value of 0 or 1 has no error: its sample size is the number of patients.
    """
    from scipy.stats import t

    end = (value == 0) | (value == 1)
    at_end = t.ppf((1 + LEVEL) / 2, max(1.0, spread.patients - 1))
    z = np.where(end, at_end, spread.quantile)
    size = np.where(end, spread.patients, value * (1 - value) / spread.error**2)
    return wilson_limits(value, size, z)


def wilson_limits(value: Floats, size: Floats, quantile: Floats) -> _Limits:
    """Return Wilson's limits (1927) of proportions, NaN where the sample size is not finite."""
    size = np.where(np.isfinite(size), size, np.nan)
    shift = quantile**2 / size
    centre = (value + shift / 2) / (1 + shift)
    half = quantile * np.sqrt(value * (1 - value) / size + shift / size / 4) / (1 + shift)
    # At 0 and 1 one limit is the value itself, which rounding may miss.
    low = np.where((value == 0) & ~np.isnan(half), 0.0, np.maximum(centre - half, 0.0))
    high = np.where((value == 1) & ~np.isnan(half), 1.0, np.minimum(centre + half, 1.0))
    return low, high


def _logit(value: Floats, spread: _Spread) -> _Limits:
    """Move the log-odds by the error on their scale; :func:`_wilson` at 0 and 1."""
    from scipy.special import expit, logit

    half = spread.quantile * spread.error / (value * (1 - value))
    end = (value == 0) | (value == 1)
    half = np.where(spread.error > 0, half, np.nan)
    low, high = _wilson(value, spread)
    return (
        np.where(end, low, expit(logit(value) - half)),
        np.where(end, high, expit(logit(value) + half)),
    )


def _correlation(value: Floats, spread: _Spread) -> _Limits:
    """Map -1 to 1 onto 0 to 1 for :func:`_wilson`."""
    low, high = _wilson((value + 1) / 2, spread._replace(error=spread.error / 2))
    return 2 * low - 1, 2 * high - 1


def _logarithm(value: Floats, spread: _Spread) -> _Limits:
    """Move the logarithm of a positive value by the relative error."""
    half = np.where(spread.error > 0, spread.quantile * spread.error / value, np.nan)
    return value * np.exp(-half), value * np.exp(half)


SCALES: dict[str, _Scale] = {
    "balanced_accuracy": _wilson,
    "f1": _wilson,
    "mcc": _correlation,
    "auc": _logit,
    "auc_micro": _logit,
    "average_precision": _logit,
    "average_precision_micro": _logit,
    "loss": _logarithm,
    "brier": _logarithm,
}
"""The scale of each metric, on which its limits stay in its range."""
