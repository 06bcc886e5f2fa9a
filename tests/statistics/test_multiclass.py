"""Averages over the classes that have images, and the baseline."""

from __future__ import annotations

import numpy as np
import pytest

from xray_hpc.metrics import class_scores, split_metrics
from xray_hpc.statistics.multiclass import confusion_metrics, majority_logits, ranking_influences


def test_majority_logits_predict_the_most_frequent_training_class() -> None:
    logits = majority_logits([10, 70, 20], 4)
    assert logits.shape == (4, 3)
    assert class_scores(logits)[0] == pytest.approx([0.1, 0.7, 0.2])
    measured = split_metrics([0, 1, 2, 1], logits, ("a", "b", "c"))
    assert measured.accuracy == 0.5
    assert measured.balanced_accuracy == pytest.approx(1 / 3)
    assert measured.auc == 0.5


def test_majority_logits_of_two_classes_mirror_each_other() -> None:
    logits = majority_logits([1, 3], 1)
    assert logits[0, 0] == pytest.approx(-logits[0, 1])


def test_majority_logits_of_a_class_without_images_are_finite() -> None:
    assert np.isfinite(majority_logits([0, 3], 2)).all()


def test_averages_leave_out_classes_without_images() -> None:
    y, logits = np.array([0, 1, 0]), np.array([[1.0, 0, 0], [0, 1.0, 0], [0.5, 0.2, 1.0]])
    value, influence = ranking_influences(y, logits)["auc"]
    assert value == 1
    assert influence.shape == (3,)


def test_confusion_without_a_class_has_nan_means() -> None:
    confusion = np.array([[[3.0, 1], [0, 0]]])
    found = confusion_metrics(confusion, np.array([0, 1]))
    assert np.isnan(found["f1"]).all()
    assert np.isnan(found["mcc"]).all()
