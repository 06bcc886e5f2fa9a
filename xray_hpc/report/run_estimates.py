"""Metrics with 95 % intervals clustered by patient, of runs on the same images."""

from __future__ import annotations

import numpy as np

from xray_hpc.report.image_scores import Array, Floats, ImageScores
from xray_hpc.statistics.influence_intervals import Estimate, influence_interval
from xray_hpc.statistics.patient_estimates import (
    multiclass_estimates,
    score_estimates,
    threshold_estimates,
)
from xray_hpc.statistics.patient_sums import patient_codes, patient_sums
from xray_hpc.statistics.ranking_influence import auc_influence

Estimates = dict[str, Estimate]


def score_metrics(images: ImageScores) -> Estimates:
    """Return AUC, average precision, log-loss and Brier score ``[M]`` of two classes."""
    scored = score_estimates(images.y, images.logits, images.patients)
    return {"auc": auc_estimate(images.y, images.logits, images.patients), **scored}


def auc_estimate(y: Array, logits: Floats, patients: Array) -> Estimate:
    """Return the AUC ``[M]`` of logits ``[M, N]`` for labels ``[N]`` of 0 and 1."""
    codes, size = patient_codes(patients)
    found = [auc_influence(y, run) for run in logits]
    influence = patient_sums(np.stack([each for _, each in found]), codes, size)
    return influence_interval("auc", np.array([value for value, _ in found]), influence, size)


def threshold_metrics(images: ImageScores, thresholds: Floats) -> Estimates:
    """Return the metrics ``[M]`` of two classes at a threshold ``[M]`` for each run."""
    scores, patients = images.scores, images.patients
    positive = images.y == 1
    predicted = scores > thresholds[:, None]
    found = {
        "accuracy": proportion(predicted == positive, np.ones_like(predicted), patients),
        "sensitivity": proportion(predicted & positive, positive, patients),
        "specificity": proportion(~predicted & ~positive, ~positive, patients),
        "ppv": proportion(predicted & positive, predicted, patients),
        "npv": proportion(~predicted & ~positive, ~predicted, patients),
    }
    return found | threshold_estimates(images.y, scores, thresholds, patients)


def multiclass_metrics(images: ImageScores) -> Estimates:
    """Return the averages over classes ``[M]`` of more than two classes, and the accuracy."""
    found = [multiclass_estimates(images.y, run, images.patients) for run in images.logits]
    stacked = {
        name: Estimate(*map(np.concatenate, zip(*(one[name] for one in found), strict=True)))
        for name in found[0]
    }
    right = images.predicted == images.y
    return {"accuracy": proportion(right, np.ones_like(right), images.patients), **stacked}


def proportion(hits: Array, eligible: Array, patients: Array) -> Estimate:
    """Return the share ``[M]`` of ``eligible`` images ``[M, N]`` that are ``hits``."""
    codes, size = patient_codes(patients)
    eligible = np.broadcast_to(eligible, hits.shape)
    counts = eligible.sum(axis=1).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(counts > 0, hits.sum(axis=1) / counts, np.nan)
        influence = (hits - value[:, None] * eligible) / counts[:, None]
    return influence_interval(
        "balanced_accuracy", value, patient_sums(influence, codes, size), size
    )
