"""Values against scikit-learn, and influences against numerical derivatives by weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from sklearn.metrics import average_precision_score, roc_auc_score

from tests.statistics.scored_images import Scored, scored
from xray_hpc.statistics.ranking_influence import auc_influence, average_precision_influence

PAIRS = [(auc_influence, roc_auc_score), (average_precision_influence, average_precision_score)]
Metric = Callable[..., Any]


@pytest.mark.parametrize(("metric", "expected"), PAIRS)
@settings(max_examples=10)
@given(images=scored(max_images=12))
def test_influences_are_the_derivatives_by_weights(
    metric: Metric, expected: Metric, images: Scored
) -> None:
    value, influence = metric(images.y, images.scores)
    assert value == pytest.approx(expected(images.y, images.scores))
    step = 1e-6
    for image in range(len(images.y)):
        weights = np.ones(len(images.y))
        weights[image] += step
        changed = expected(images.y, images.scores, sample_weight=weights)
        assert influence[image] == pytest.approx((changed - value) / step, abs=1e-4)


@pytest.mark.parametrize(("metric", "expected"), PAIRS)
@given(images=scored())
def test_influences_sum_to_zero_and_keep_under_monotone_maps(
    metric: Metric, expected: Metric, images: Scored
) -> None:
    value, influence = metric(images.y, images.scores)
    assert influence.sum() == pytest.approx(0, abs=1e-12)
    mapped, same = metric(images.y, images.logits)
    assert mapped == value
    np.testing.assert_array_equal(same, influence)


@pytest.mark.parametrize("y", [np.zeros(3), np.ones(3)])
def test_auc_of_one_class_is_nan(y: np.ndarray) -> None:
    value, influence = auc_influence(y, np.array([0.1, 0.2, 0.3]))
    assert math.isnan(value)
    assert np.isnan(influence).all()
