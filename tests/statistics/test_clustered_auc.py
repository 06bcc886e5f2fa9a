"""Intervals and tests of the AUC clustered by patient."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.statistics.simulated_patients import SCENARIOS, Images, draw_images
from xray_hpc.statistics.clustered_auc import (
    auc_components,
    auc_differences,
    auc_estimates,
    newcombe_limits,
)

SEEDS = st.integers(0, 1000)


def images(seed: int) -> Images:
    return draw_images(np.random.default_rng(seed), SCENARIOS["66 images"])


@given(SEEDS)
def test_auc_of_flipped_labels_is_mirrored(seed: int) -> None:
    drawn = images(seed)
    one = auc_estimates(auc_components(drawn.y, drawn.logits[None], drawn.patients))
    other = auc_estimates(auc_components(1 - drawn.y, drawn.logits[None], drawn.patients))
    np.testing.assert_allclose(other.value, 1 - one.value)
    np.testing.assert_allclose((other.low, other.high), (1 - one.high, 1 - one.low), atol=1e-9)


@given(SEEDS)
def test_auc_depends_on_the_order_of_scores_only(seed: int) -> None:
    drawn = images(seed)
    shuffled = np.random.default_rng(seed).permutation(len(drawn.y))
    one = auc_estimates(auc_components(drawn.y, drawn.logits[None], drawn.patients))
    scores = np.arctan(drawn.logits[shuffled])[None]
    other = auc_estimates(auc_components(drawn.y[shuffled], scores, drawn.patients[shuffled]))
    np.testing.assert_allclose(other, one, atol=1e-9)


@given(SEEDS)
def test_auc_difference_of_a_swapped_pair_is_its_negative(seed: int) -> None:
    drawn = images(seed)
    noise = np.random.default_rng(seed).normal(size=len(drawn.y))
    scores = np.stack([drawn.logits, drawn.logits + noise])
    components = auc_components(drawn.y, scores, drawn.patients)
    one, other = auc_differences(components, 0), auc_differences(components, 1)
    assert one.value[1] == -other.value[0]
    assert one.statistic[1] == -other.statistic[0]
    assert (one.low[1], one.high[1]) == (-other.high[0], -other.low[0])
    assert one.p[1] == other.p[0]


def test_auc_interval_widens_where_images_share_a_patient() -> None:
    y, scores = np.tile([0, 0, 1, 1], 20), np.random.default_rng(0).normal(size=80)
    scores = np.repeat(scores[::4], 4) + y  # the images of a patient are alike
    widths = []
    for patients in (np.arange(80), np.arange(80) // 4):
        estimate = auc_estimates(auc_components(y, scores[None], patients))
        widths.append(float(estimate.high[0] - estimate.low[0]))
    grouped = auc_components(y, np.repeat(scores[::2], 2)[None], np.arange(80) // 2)
    alone = auc_components(y, np.repeat(scores[::2], 2)[None], np.arange(80))
    wide, narrow = auc_estimates(grouped), auc_estimates(alone)
    assert wide.high[0] - wide.low[0] > narrow.high[0] - narrow.low[0]
    assert min(widths) > 0


def test_auc_of_one_or_of_a_constant_score_has_no_interval_of_variance() -> None:
    y, patients = np.repeat([0, 1], 10), np.arange(20)
    estimate = auc_estimates(auc_components(y, np.array([y, y * 0.0]), patients))
    assert estimate.value.tolist() == [1, 0.5]
    assert (float(estimate.low[0]), float(estimate.high[0])) == newcombe_limits(1.0, 10, 10)
    assert np.isnan([estimate.low[1], estimate.high[1]]).all()


def test_auc_of_one_class_is_unknown() -> None:
    estimate = auc_estimates(auc_components(np.ones(4), np.ones((2, 4)), np.arange(4)))
    assert np.isnan(estimate).all()


def test_auc_difference_of_equal_models_is_zero_with_a_p_value_of_one() -> None:
    drawn = images(0)
    twice = np.stack([drawn.logits, drawn.logits])
    found = auc_differences(auc_components(drawn.y, twice, drawn.patients), 0)
    assert (found.statistic.tolist(), found.p.tolist()) == ([0, 0], [1, 1])
