"""Tests of ROC curves, compared with scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from sklearn.metrics import auc, roc_curve

from tests.scored_splits import FEW, THREE, TWO, Split, sigmoid, softmax, splits
from xray_hpc.metrics import MACRO, MICRO, class_scores, roc_curves, split_metrics


@given(splits(2))
def test_roc_curve_of_two_classes_agrees_with_scikit_learn(split: Split) -> None:
    y_true, logits = split
    ((name, (fpr, tpr, thresholds)),) = roc_curves(y_true, logits, TWO).items()
    assert name == "PNEUMONIA"
    expected = roc_curve(y_true, logits[:, 1])
    np.testing.assert_array_equal(fpr, expected[0])
    np.testing.assert_array_equal(tpr, expected[1])
    np.testing.assert_array_equal(thresholds[1:], class_scores(expected[2][1:]))
    assert thresholds[0] == math.inf


@FEW
@given(splits(3))
def test_area_under_each_roc_curve_equals_the_reported_auc(split: Split) -> None:
    y_true, logits = split
    measured, curves = split_metrics(y_true, logits, THREE), roc_curves(y_true, logits, THREE)
    assert list(curves) == [*THREE, MICRO, MACRO]
    areas = {name: auc(fpr, tpr) for name, (fpr, tpr, _) in curves.items()}
    for name in THREE:
        assert areas[name] == pytest.approx(measured.per_class[name].auc)
    assert areas[MICRO] == pytest.approx(measured.auc_micro)
    assert areas[MACRO] == pytest.approx(measured.auc)


def test_macro_average_curve_is_the_mean_over_the_false_positive_rate() -> None:
    scores = [[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]
    fpr, tpr, thresholds = roc_curves([0, 0, 1, 2], softmax(scores), THREE)[MACRO]
    # Covid and Viral Pneumonia reach TPR 1 at FPR 0, Normal at FPR 1/3 (one false positive).
    np.testing.assert_allclose(fpr, [0, 0, 1 / 3, 1 / 3, 1])
    np.testing.assert_allclose(tpr, [0, 2 / 3, 2 / 3, 1, 1])
    assert np.isnan(thresholds).all()


def test_roc_rate_without_images_is_nan() -> None:
    fpr, tpr, _ = roc_curves([1, 1], sigmoid([0.2, 0.7]), TWO)["PNEUMONIA"]
    assert np.isnan(fpr).all()
    np.testing.assert_array_equal(tpr, [0, 0.5, 1])
