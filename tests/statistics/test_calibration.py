"""Bins, calibration error and temperature scaling."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from tests.scored_splits import FEW, Split, splits
from tests.statistics.scored_images import Scored, scored
from xray_hpc.metrics import class_scores, predicted_labels, split_metrics
from xray_hpc.statistics.calibration import (
    bin_numbers,
    confidences,
    expected_calibration_error,
    fitted_temperature,
    mean_log_loss,
    reliability_bins,
    scaled_logits,
)

CLASSES = ("a", "b", "c")


def two_columns(x: np.ndarray) -> np.ndarray:
    return np.stack([-x, x], axis=1)


def test_bin_numbers_are_closed_on_the_right() -> None:
    scores = np.array([0.0, 1 / 15, 1 / 15 + 1e-9, 0.2, 0.6, 14 / 15, 1.0])
    assert bin_numbers(scores).tolist() == [0, 0, 1, 2, 8, 13, 14]


def test_reliability_bins_leave_out_bins_without_images() -> None:
    table = reliability_bins(np.array([0, 1, 1]), np.array([0.1, 0.15, 0.95]), bins=10)
    assert table.bin.tolist() == [0, 1, 9]
    assert table.images.tolist() == [1, 1, 1]
    assert table.positive_share.tolist() == [0, 1, 1]
    assert table.mean_score.tolist() == [0.1, 0.15, 0.95]
    assert (table.low[1], table.high[1]) == (0.1, 0.2)


def test_expected_calibration_error_of_scores_equal_to_shares_is_zero() -> None:
    y = np.array([1, 0, 0, 0, 1, 1, 1, 0])
    scores = np.repeat([0.25, 0.75], 4)
    assert expected_calibration_error(y, scores) == 0


@given(scored())
def test_expected_calibration_error_is_a_mean_gap(images: Scored) -> None:
    table = reliability_bins(images.y, images.scores)
    assert table.images.sum() == len(images.y)
    error = expected_calibration_error(images.y, images.scores)
    assert abs(images.y.mean() - images.scores.mean()) - 1e-12 <= error <= 1


def test_confidences_are_those_of_the_predicted_class() -> None:
    logits = np.array([[2.0, -1.0, -3.0], [-1.0, -2.0, 0.5]])
    right, confidence = confidences(np.array([0, 1]), logits)
    assert right.tolist() == [True, False]
    assert confidence == pytest.approx(1 / (1 + np.exp([-2.0, -0.5])))


@FEW
@given(st.data(), st.sampled_from([2, 3]))
def test_fitted_temperature_never_raises_the_loss(data: st.DataObject, classes: int) -> None:
    y, logits = data.draw(splits(classes))
    temperature = fitted_temperature(y, logits)
    if math.isnan(temperature):
        return
    before = mean_log_loss(y, logits)
    assert before == pytest.approx(split_metrics(y, logits, CLASSES[:classes]).loss)
    after = mean_log_loss(y, scaled_logits(logits, temperature))
    assert after <= before + 1e-9
    for nearby in (temperature * 0.99, temperature * 1.01):
        if 0.01 <= nearby <= 100:
            assert after <= mean_log_loss(y, scaled_logits(logits, nearby)) + 1e-9


@given(splits(2), st.floats(0.1, 10))
def test_scaled_logits_of_two_classes_keep_ranks_and_predictions(
    split: Split, temperature: float
) -> None:
    _, logits = split
    scaled = scaled_logits(logits, temperature)
    np.testing.assert_allclose(scaled, logits / temperature, rtol=1e-9, atol=1e-12)
    clear = np.abs(logits[:, 1]) > 1e-9
    before, after = class_scores(logits)[clear], class_scores(scaled)[clear]
    np.testing.assert_array_equal(predicted_labels(before, 0.5), predicted_labels(after, 0.5))


@given(splits(3), st.floats(0.1, 10))
def test_scaled_logits_of_three_classes_are_probabilities_that_keep_the_order(
    split: Split, temperature: float
) -> None:
    _, logits = split
    scores, scaled = class_scores(logits), class_scores(scaled_logits(logits, temperature))
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    expected = scores ** (1 / temperature)
    np.testing.assert_allclose(scaled, expected / expected.sum(axis=1, keepdims=True), rtol=1e-6)


def test_temperature_of_over_confident_scores_is_above_one() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(0, 2, 4000)
    y = (rng.random(4000) < 1 / (1 + np.exp(-x))).astype(int)
    assert fitted_temperature(y, two_columns(3 * x)) == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize(
    "x",
    [
        np.array([-3.0, -0.1, 0.2, 5.0]),  # separated without error
        np.zeros(4),  # constant
        np.array([3.0, 0.1, -0.2, -5.0]),  # inverted
    ],
)
def test_temperature_without_a_minimum_is_nan(x: np.ndarray) -> None:
    assert math.isnan(fitted_temperature(np.array([0, 0, 1, 1]), two_columns(x)))


def test_mean_log_loss_of_three_classes_matches_scikit_learn() -> None:
    y, x = np.array([0, 2, 1]), np.array([[1.0, 0.2, -1.0], [0.3, 0.1, 2.0], [1.0, 0.0, 0.5]])
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    assert mean_log_loss(y, np.log(p / (1 - p))) == pytest.approx(log_loss(y, p))
