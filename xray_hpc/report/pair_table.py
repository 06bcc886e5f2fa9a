"""Compare the winner with every other run on the same test images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from xray_hpc.report.image_scores import Floats, ImageScores
from xray_hpc.statistics.multiclass import ranking_influences
from xray_hpc.statistics.patient_sums import patient_codes, patient_sums
from xray_hpc.statistics.ranking_influence import auc_influence

COLUMNS = (
    *("data", "first", "second", "metric", "difference", "low", "high", "statistic", "p"),
    *("p_holm", "distinguishable"),
)
SIGNIFICANCE = 0.05
NO_ERROR = 1e-12  # what is left of a standard error of 0 by rounding


def pair_table(data: str, images: Sequence[ImageScores], winner: str) -> pd.DataFrame:
    """Return the differences in AUC and accuracy: the winner's value minus that of each other run.

    The p values of each metric are adjusted for the number of comparisons (Holm 1979). Runs on
    other test images than the winner's are left out.
    """
    here = [one for one in images if winner in one.runs]
    if not here or len(here[0].runs) < 2:
        return pd.DataFrame(columns=list(COLUMNS))
    stack = here[0]
    first = list(stack.runs).index(winner)
    others = [i for i in range(len(stack.runs)) if i != first]
    metrics = {"auc": _auc_influences(stack), "accuracy": _accuracy_influences(stack)}
    tables = []
    for metric, (values, influences) in metrics.items():
        codes, size = patient_codes(stack.patients)
        sums = patient_sums(influences, codes, size)
        table = _differences(values[first] - values[others], sums[first] - sums[others])
        names = {"data": data, "first": winner, "second": [stack.runs[i] for i in others]}
        tables.append(pd.DataFrame({**names, "metric": metric, **table}))
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


def _differences(difference: Floats, influence: Floats) -> dict[str, Floats | npt.NDArray[Any]]:
    """Return the columns of differences ``[R]`` with the influence ``[R, P]`` of each patient.

    The statistic is the difference by its clustered standard error, as in Obuchowski (1997, 1998).
    Without any variance, equal runs have p = 1, and other differences cannot be estimated.
    """
    from scipy.stats import norm

    patients = influence.shape[1]
    error = np.sqrt((influence**2).sum(axis=1) * patients / max(patients - 1, 1))
    error = np.where(error < NO_ERROR, 0.0, error)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where((error == 0) & (difference == 0), 0.0, difference / error)
    z = np.where(np.isfinite(z), z, np.nan)
    p = 2 * norm.sf(np.abs(z))
    half = np.where(np.isnan(z), np.nan, norm.ppf(0.975) * error)
    adjusted = holm(p)
    return {
        "difference": difference,
        "low": np.maximum(difference - half, -1.0),
        "high": np.minimum(difference + half, 1.0),
        "statistic": z,
        "p": p,
        "p_holm": adjusted,
        "distinguishable": adjusted < SIGNIFICANCE,
    }


def holm(p: Floats) -> Floats:
    """Return p values ``[R]`` adjusted by Holm's (1979) step-down method; NaN stays NaN."""
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def _auc_influences(images: ImageScores) -> tuple[Floats, Floats]:
    if images.is_binary:
        found = [auc_influence(images.y, run) for run in images.logits]
    else:
        found = [ranking_influences(images.y, run)["auc"] for run in images.logits]
    return np.array([value for value, _ in found]), np.stack([each for _, each in found])


def _accuracy_influences(images: ImageScores) -> tuple[Floats, Floats]:
    right = (images.predicted == images.y).astype(float)
    values = right.mean(axis=1)
    return values, (right - values[:, None]) / images.images
