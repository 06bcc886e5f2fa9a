"""Metrics with 95 % intervals clustered by patient, of runs on the same images.

They are those without a closed interval of their own; the AUC of two classes, accuracy,
sensitivity, specificity, PPV and NPV have one. ``patients`` ``[N]`` names the patient of each
image; where patients are unknown, give each image a name of its own.
"""

from __future__ import annotations

import numpy as np

from xray_hpc.statistics.binary_metrics import (
    Array,
    Counts,
    Floats,
    log_losses,
    squared_errors,
    threshold_metrics,
)
from xray_hpc.statistics.influence_intervals import (
    Estimate,
    effective_patients,
    influence_interval,
    jackknife_influence,
)
from xray_hpc.statistics.multiclass import (
    confusion_metrics,
    mean_influences,
    ranking_influences,
)
from xray_hpc.statistics.patient_sums import Codes, patient_codes, patient_sums
from xray_hpc.statistics.ranking_influence import average_precision_influence

THRESHOLD_METRICS = ("balanced_accuracy", "f1", "mcc")


def threshold_estimates(
    y: Array, scores: Array, threshold: float | Array, patients: Array
) -> dict[str, Estimate]:
    """Return balanced accuracy, F1 and MCC ``[R]`` of scores ``[R, N]`` of two classes.

    Args:
        y: labels ``[N]``, 1 for the positive class.
        scores: of the positive class; an image is positive if its score is above the threshold.
        threshold: one, or one per run; with NaN all of the run is NaN.
        patients: ``[N]``.
    """
    codes, size = patient_codes(patients)
    limits = np.broadcast_to(np.asarray(threshold, np.float64), len(scores))[:, None]
    positive, predicted = np.asarray(y, bool), np.asarray(scores) > limits
    cells = (predicted & positive, predicted & ~positive, ~predicted & ~positive)
    of_patients = [patient_sums(cell, codes, size) for cell in (*cells, ~predicted & positive)]
    totals = [sums.sum(axis=1, keepdims=True) for sums in of_patients]
    values = threshold_metrics(Counts(*totals))
    pairs = zip(totals, of_patients, strict=True)
    without = threshold_metrics(Counts(*(total - sums for total, sums in pairs)))
    effective = _effective(y, codes)
    return {
        name: influence_interval(
            name,
            np.where(np.isnan(limits), np.nan, values[name])[:, 0],
            jackknife_influence(without[name]),
            effective,
        )
        for name in THRESHOLD_METRICS
    }


def score_estimates(y: Array, logits: Array, patients: Array) -> dict[str, Estimate]:
    """Return average precision, log-loss and Brier score ``[R]`` of logits ``[R, N]``.

    Args:
        y: labels ``[N]``, 1 for the positive class.
        logits: of the positive class.
        patients: ``[N]``.
    """
    from scipy.special import expit

    x = np.asarray(logits, np.float64)
    ranked = [average_precision_influence(y, run) for run in x]
    precision = np.array([value for value, _ in ranked])
    found = {"average_precision": (precision, np.stack([influence for _, influence in ranked]))}
    for name, each in {"loss": log_losses(y, x), "brier": squared_errors(y, expit(x))}.items():
        mean = each.mean(axis=1)
        found[name] = mean, (each - mean[:, None]) / each.shape[1]
    return _estimates(found, y, patients)


def multiclass_estimates(y: Array, logits: Array, patients: Array) -> dict[str, Estimate]:
    """Return the averages over classes of one run, each an estimate of shape ``[1]``.

    They are ``auc``, ``average_precision``, ``f1`` and ``balanced_accuracy`` (macro averages),
    ``auc_micro``, ``average_precision_micro``, ``mcc``, ``loss`` and ``brier``.

    Args:
        y: labels ``[N]``, 0 to K-1.
        logits: ``[N, K]``, the log-odds of each class against all others.
        patients: ``[N]``.
    """
    images = ranking_influences(y, logits) | mean_influences(y, logits)
    found = {name: (np.array([value]), each[None]) for name, (value, each) in images.items()}
    return _estimates(found, y, patients) | _confusion_estimates(y, logits, patients)


def _confusion_estimates(y: Array, logits: Array, patients: Array) -> dict[str, Estimate]:
    codes, size = patient_codes(patients)
    x, truth = np.asarray(logits, np.float64), np.asarray(y, np.int64)
    classes = x.shape[1]
    cells = np.arange(classes**2)[:, None] == truth * classes + x.argmax(axis=1)
    of_patients = patient_sums(cells, codes, size).T.reshape(size, classes, classes)
    total, present = of_patients.sum(axis=0), np.unique(truth)
    values = confusion_metrics(total[None], present)
    without = confusion_metrics(total - of_patients, present)
    effective = _effective(y, codes)
    return {
        name: influence_interval(name, value, jackknife_influence(without[name][None]), effective)
        for name, value in values.items()
    }


def _estimates(
    images: dict[str, tuple[Floats, Floats]], y: Array, patients: Array
) -> dict[str, Estimate]:
    """Return estimates from values ``[R]`` and the influence ``[R, N]`` of each image."""
    codes, size = patient_codes(patients)
    effective = _effective(y, codes)
    return {
        name: influence_interval(name, value, patient_sums(influence, codes, size), effective)
        for name, (value, influence) in images.items()
    }


def _effective(y: Array, codes: Codes) -> float:
    labels = np.asarray(y)
    of_classes = [len(np.unique(codes[labels == label])) for label in np.unique(labels)]
    return effective_patients(np.array(of_classes, np.float64))
