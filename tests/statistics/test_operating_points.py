"""Thresholds chosen on scores: what they reach, ties, and cases without a choice."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given

from tests.statistics.scored_images import Scored, scored
from xray_hpc.statistics.binary_metrics import confusion_counts, threshold_metrics
from xray_hpc.statistics.operating_points import candidate_thresholds, chosen_thresholds

Y = np.array([0, 0, 0, 0, 1, 1, 1, 1])
SCORES = np.array([0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9])


def reached(y: np.ndarray, scores: np.ndarray, threshold: float) -> tuple[float, float]:
    found = threshold_metrics(confusion_counts(y, scores, threshold))
    return float(found["sensitivity"]), float(found["specificity"])


def test_chosen_thresholds_lie_midway_between_neighbouring_scores() -> None:
    found = chosen_thresholds(Y, SCORES, sensitivity=0.75, specificity=0.75)
    assert found["fixed"] == 0.5
    assert found["sensitivity"] == pytest.approx(0.65)
    assert found["specificity"] == pytest.approx(0.35)


def test_youden_takes_the_highest_of_equally_good_thresholds() -> None:
    assert chosen_thresholds(Y, SCORES)["youden"] == pytest.approx(0.65)


@given(scored())
def test_chosen_thresholds_meet_their_rule_and_no_other_is_better(images: Scored) -> None:
    y, scores = images.y, images.scores
    found = chosen_thresholds(y, scores)
    if np.ptp(scores) == 0:
        assert all(math.isnan(found[rule]) for rule in ("youden", "sensitivity", "specificity"))
        return
    each = {t: reached(y, scores, t) for t in candidate_thresholds(np.unique(scores))}
    assert sum(each[found["youden"]]) == pytest.approx(max(map(sum, each.values())))
    assert found["sensitivity"] == max(t for t, (tpr, _) in each.items() if tpr >= 0.95)
    assert found["specificity"] == min(t for t, (_, tnr) in each.items() if tnr >= 0.90)


def test_sensitivity_that_needs_every_image_has_the_threshold_minus_infinity() -> None:
    found = chosen_thresholds(np.array([1, 0]), np.array([0.1, 0.9]))
    assert found["sensitivity"] == -math.inf
    assert found["specificity"] == math.inf


@pytest.mark.parametrize("y", [np.zeros(4), np.ones(4)])
def test_chosen_thresholds_of_one_class_are_nan(y: np.ndarray) -> None:
    found = chosen_thresholds(y, np.array([0.1, 0.2, 0.3, 0.4]))
    assert found["fixed"] == 0.5
    assert math.isnan(found["youden"])


def test_sensitivity_counts_are_exact_despite_rounding() -> None:
    y = np.ones(21)
    y[0] = 0
    scores = np.arange(21) / 21
    assert reached(y, scores, chosen_thresholds(y, scores)["sensitivity"])[0] == 0.95


def test_candidate_thresholds_separate_neighbouring_floats() -> None:
    low = 0.7
    high = float(np.nextafter(low, 1))
    middle = candidate_thresholds(np.array([low, high]))[1]
    assert not low > middle
    assert high > middle


@pytest.mark.parametrize("target", [0.0, 1.5, -1.0])
def test_targets_that_no_threshold_can_mean_are_refused(target: float) -> None:
    with pytest.raises(ValueError, match="target"):
        chosen_thresholds(Y, SCORES, sensitivity=target)
