"""Compare the metrics of two classes with scikit-learn, and check their edge cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from sklearn import metrics as sklearn

from tests.statistics.scored_images import Scored, scored
from xray_hpc.statistics.binary_metrics import (
    average_precision,
    confusion_counts,
    log_losses,
    precision_recall,
    squared_errors,
    threshold_metrics,
)


def metrics_at(y: list[int], scores: list[float], threshold: float = 0.5) -> dict[str, float]:
    counts = confusion_counts(np.array(y), np.array(scores), threshold)
    return {name: float(value) for name, value in threshold_metrics(counts).items()}


def test_confusion_counts_predict_positive_above_the_threshold_only() -> None:
    counts = confusion_counts(np.array([1, 1, 0, 0]), np.array([0.5, 0.6, 0.5, 0.6]), 0.5)
    assert [float(cell) for cell in counts] == [1, 1, 1, 1]


def test_confusion_counts_take_a_threshold_of_each_run() -> None:
    scores = np.array([[0.2, 0.8], [0.2, 0.8]])
    counts = confusion_counts(np.array([0, 1]), scores, np.array([0.5, 0.9]))
    assert counts.tp.tolist() == [1, 0]
    assert counts.fn.tolist() == [0, 1]


@given(scored())
def test_threshold_metrics_match_scikit_learn(images: Scored) -> None:
    y, predicted = images.y, (images.scores > 0.5).astype(int)
    found = metrics_at(list(y), list(images.scores))
    assert found["accuracy"] == pytest.approx(sklearn.accuracy_score(y, predicted))
    assert found["balanced_accuracy"] == pytest.approx(
        sklearn.balanced_accuracy_score(y, predicted)
    )
    assert found["sensitivity"] == pytest.approx(sklearn.recall_score(y, predicted))
    assert found["f1"] == pytest.approx(sklearn.f1_score(y, predicted))
    if 0 < predicted.sum() < len(y):
        assert found["mcc"] == pytest.approx(sklearn.matthews_corrcoef(y, predicted))
        assert found["ppv"] == pytest.approx(sklearn.precision_score(y, predicted))
    else:
        assert math.isnan(found["mcc"])


@given(scored())
def test_threshold_metrics_swap_with_the_classes(images: Scored) -> None:
    predicted = (images.scores > 0.5).astype(float)
    found = metrics_at(list(images.y), list(predicted))
    swapped = metrics_at(list(1 - images.y), list(1 - predicted))
    for name, other in {
        "sensitivity": "specificity",
        "ppv": "npv",
        "mcc": "mcc",
        "balanced_accuracy": "balanced_accuracy",
    }.items():
        assert found[name] == pytest.approx(swapped[other], nan_ok=True)


def test_threshold_metrics_without_a_class_are_nan_only_where_undefined() -> None:
    found = metrics_at([1, 1], [0.9, 0.1])
    assert {name for name, value in found.items() if math.isnan(value)} == {
        "balanced_accuracy",
        "specificity",
        "mcc",
    }


@given(scored())
def test_average_precision_matches_scikit_learn(images: Scored) -> None:
    expected = sklearn.average_precision_score(images.y, images.scores)
    assert average_precision(images.y, images.scores) == pytest.approx(expected)


@given(scored())
def test_precision_recall_matches_scikit_learn(images: Scored) -> None:
    precision, recall, thresholds = sklearn.precision_recall_curve(images.y, images.scores)
    points = precision_recall(images.y, images.scores)
    np.testing.assert_allclose(points.precision, precision[:-1][::-1])
    np.testing.assert_allclose(points.recall, recall[:-1][::-1])
    np.testing.assert_allclose(points.threshold, thresholds[::-1])


def test_average_precision_without_positive_images_is_nan() -> None:
    assert math.isnan(average_precision(np.zeros(3), np.array([0.1, 0.2, 0.3])))


@given(scored())
def test_losses_match_scikit_learn(images: Scored) -> None:
    loss = sklearn.log_loss(images.y, images.scores, labels=[0, 1])
    assert log_losses(images.y, images.logits).mean() == pytest.approx(loss)
    brier = sklearn.brier_score_loss(images.y, images.scores)
    assert squared_errors(images.y, images.scores).mean() == pytest.approx(brier)


def test_log_losses_of_saturated_scores_are_finite() -> None:
    losses = log_losses(np.array([1, 0]), np.array([[800.0, 800.0]]))
    assert losses.tolist() == [[0.0, 800.0]]
