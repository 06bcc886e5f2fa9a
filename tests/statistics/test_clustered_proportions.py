"""Intervals and tests of proportions clustered by patient."""

from __future__ import annotations

import numpy as np
import pytest

from xray_hpc.statistics.clustered_proportions import (
    accuracy_differences,
    binary_proportions,
    proportion_estimates,
)
from xray_hpc.statistics.paired_difference import detectable_difference, holm

ALL = np.ones((1, 100), bool)


def test_proportion_of_a_hundred_patients_has_nearly_wilsons_interval() -> None:
    hits = (np.arange(100) < 80)[None]
    estimate = proportion_estimates(hits, ALL, np.arange(100))
    assert estimate.value == pytest.approx(0.8)
    # Wilson's interval of 80 of 100 is .711 to .867.
    assert estimate.low == pytest.approx(0.711, abs=0.003)
    assert estimate.high == pytest.approx(0.867, abs=0.003)


def test_proportion_interval_counts_alike_images_of_a_patient_once() -> None:
    hits = np.repeat(np.arange(20) < 16, 5)[None]
    alike = proportion_estimates(hits, ALL, np.repeat(np.arange(20), 5))
    alone = proportion_estimates(hits[:, ::5], ALL[:, ::5], np.arange(20))
    np.testing.assert_allclose(alike, alone)


def test_proportion_of_one_rests_on_the_number_of_patients() -> None:
    few = proportion_estimates(ALL, ALL, np.arange(100) // 10)
    many = proportion_estimates(ALL, ALL, np.arange(100))
    assert few.high[0] == many.high[0] == 1
    assert few.low[0] < many.low[0] < 1


def test_proportion_of_no_image_or_one_patient_has_no_interval() -> None:
    none = proportion_estimates(ALL, ~ALL, np.arange(100))
    one = proportion_estimates(ALL, ALL, np.zeros(100))
    assert np.isnan([*none, *one[1:]]).all()


def test_binary_proportions_are_shares_of_the_confusion_matrix() -> None:
    y, scores = np.array([1, 1, 1, 0, 0]), np.array([[0.9, 0.8, 0.4, 0.6, 0.5]])
    found = binary_proportions(y, scores, 0.5, np.arange(5))
    values = {name: round(float(estimate.value[0]), 3) for name, estimate in found.items()}
    assert values == {
        **{"accuracy": 0.6, "sensitivity": 0.667, "specificity": 0.5},
        **{"ppv": 0.667, "npv": 0.5},
    }


def test_binary_proportions_of_an_unknown_threshold_are_unknown() -> None:
    y, scores = np.array([1, 0, 1, 0]), np.array([[0.9, 0.1, 0.8, 0.3]] * 2)
    found = binary_proportions(y, scores, np.array([0.5, np.nan]), np.arange(4))
    assert found["accuracy"].value[0] == 1
    assert all(np.isnan(estimate.value[1]) for estimate in found.values())


def test_accuracy_difference_of_a_pair_has_the_sign_of_the_better() -> None:
    correct = np.ones((2, 60), bool)
    correct[1, :10] = False
    found = accuracy_differences(correct, 0, np.arange(60))
    assert found.value[1] == pytest.approx(10 / 60)
    assert found.statistic[1] > 0
    assert found.low[1] > 0
    assert found.p[1] < 0.01


def test_accuracy_difference_of_one_patient_has_no_test() -> None:
    found = accuracy_differences(np.array([[1, 1, 0], [1, 0, 0]], bool), 0, np.zeros(3))
    assert found.value.tolist() == pytest.approx([0, 1 / 3])
    assert np.isnan([found.low[1], found.high[1], found.statistic[1], found.p[1]]).all()


def test_accuracy_difference_of_a_swapped_pair_is_its_negative() -> None:
    correct = np.random.default_rng(0).random((2, 60)) < [[0.9], [0.7]]
    patients = np.arange(60) // 3
    one, other = (accuracy_differences(correct, first, patients) for first in (0, 1))
    assert one.value[1] == -other.value[0]
    assert (one.low[1], one.high[1]) == (-other.high[0], -other.low[0])
    assert (one.statistic[1], one.p[1]) == (-other.statistic[0], other.p[0])


def test_holm_multiplies_the_smallest_p_value_by_the_number_of_comparisons() -> None:
    assert holm(np.array([0.03, 0.01, 0.04])).tolist() == pytest.approx([0.06, 0.03, 0.06])


def test_holm_keeps_an_unknown_p_value() -> None:
    adjusted = holm(np.array([0.01, np.nan]))
    assert adjusted[0] == pytest.approx(0.02)
    assert np.isnan(adjusted[1])


def test_detectable_difference_grows_with_the_comparisons() -> None:
    assert detectable_difference(0.01) == pytest.approx(0.0280, abs=1e-4)
    assert detectable_difference(0.01, comparisons=10) > detectable_difference(0.01)
