"""Metrics with 95 % intervals clustered by patient, of runs on the same images."""

from __future__ import annotations

import numpy as np

from xray_hpc.report.image_scores import Floats, ImageScores
from xray_hpc.statistics.clustered_auc import auc_components, auc_estimates
from xray_hpc.statistics.clustered_proportions import binary_proportions, proportion_estimates
from xray_hpc.statistics.influence_intervals import Estimate
from xray_hpc.statistics.patient_estimates import (
    multiclass_estimates,
    score_estimates,
    threshold_estimates,
)

Estimates = dict[str, Estimate]


def score_metrics(images: ImageScores) -> Estimates:
    """Return AUC, average precision, log-loss and Brier score ``[M]`` of two classes."""
    case = images.y, images.logits, images.patients
    return {"auc": auc_estimates(auc_components(*case)), **score_estimates(*case)}


def threshold_metrics(images: ImageScores, thresholds: Floats) -> Estimates:
    """Return the metrics ``[M]`` of two classes at a threshold ``[M]`` for each run."""
    case = images.y, images.scores, thresholds, images.patients
    return binary_proportions(*case) | threshold_estimates(*case)


def multiclass_metrics(images: ImageScores) -> Estimates:
    """Return the averages over classes ``[M]`` of more than two classes, and the accuracy."""
    found = [multiclass_estimates(images.y, run, images.patients) for run in images.logits]
    stacked = {
        name: Estimate(*map(np.concatenate, zip(*(one[name] for one in found), strict=True)))
        for name in found[0]
    }
    right = images.predicted == images.y
    accuracy = proportion_estimates(right, np.ones_like(right), images.patients)
    return {"accuracy": accuracy, **stacked}
