"""Values against scikit-learn, and what intervals by patient must and must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from sklearn import metrics as sklearn

from tests.scored_splits import FEW, Split, splits
from tests.statistics.scored_images import Scored, scored
from xray_hpc.metrics import class_scores, split_metrics
from xray_hpc.statistics.influence_intervals import Estimate
from xray_hpc.statistics.patient_estimates import (
    multiclass_estimates,
    score_estimates,
    threshold_estimates,
)

BOUNDS = {"mcc": -1.0}


def all_estimates(images: Scored, copies: int = 1) -> dict[str, Estimate]:
    y, patients = np.tile(images.y, copies), np.tile(images.patients, copies)
    scores, logits = np.tile(images.scores, copies)[None], np.tile(images.logits, copies)[None]
    of_threshold = threshold_estimates(y, scores, 0.5, patients)
    return of_threshold | score_estimates(y, logits, patients)


@given(scored())
def test_values_match_scikit_learn(images: Scored) -> None:
    found = {name: float(each.value[0]) for name, each in all_estimates(images).items()}
    predicted = images.scores > 0.5
    assert found["balanced_accuracy"] == pytest.approx(
        sklearn.balanced_accuracy_score(images.y, predicted)
    )
    assert found["f1"] == pytest.approx(sklearn.f1_score(images.y, predicted))
    assert found["average_precision"] == pytest.approx(
        sklearn.average_precision_score(images.y, images.scores)
    )
    assert found["loss"] == pytest.approx(sklearn.log_loss(images.y, images.scores))
    assert found["brier"] == pytest.approx(sklearn.brier_score_loss(images.y, images.scores))


@given(scored())
def test_limits_enclose_the_value_within_its_range(images: Scored) -> None:
    for name, each in all_estimates(images).items():
        if np.isnan(each.low[0]):
            assert np.isnan(each.high[0])
            continue
        assert BOUNDS.get(name, 0.0) <= each.low[0] <= each.value[0] + 1e-12
        assert each.value[0] - 1e-12 <= each.high[0]
        assert name == "loss" or name == "brier" or each.high[0] <= 1


@given(scored())
def test_images_counted_twice_in_the_same_patients_change_no_interval(images: Scored) -> None:
    once, twice = all_estimates(images), all_estimates(images, copies=2)
    for name, each in once.items():
        np.testing.assert_allclose(np.array(each), np.array(twice[name]), rtol=1e-6, atol=1e-9)


def test_more_images_of_the_same_patients_are_worth_less_than_more_patients() -> None:
    rng = np.random.default_rng(3)
    y = np.repeat(rng.integers(0, 2, 60), 4)
    x = (2 * y - 1 + np.repeat(rng.normal(0, 1.5, 60), 4))[None]
    clustered = score_estimates(y, x, np.repeat(np.arange(60), 4))
    apart = score_estimates(y, x, np.arange(240))
    for name in ("average_precision", "loss", "brier"):
        assert clustered[name].high - clustered[name].low > 1.5 * (
            apart[name].high - apart[name].low
        )


def test_perfect_runs_have_a_lower_limit_below_one_and_an_upper_one_of_one() -> None:
    y = np.repeat([0, 1], 20)
    x = np.where(y == 1, 3.0, -3.0)[None]
    found = threshold_estimates(y, class_scores(x), 0.5, np.arange(40)) | score_estimates(
        y, x, np.arange(40)
    )
    for name in ("balanced_accuracy", "f1", "mcc", "average_precision"):
        assert found[name].value == found[name].high == 1
        assert 0.6 < found[name].low < 0.95


def test_constant_scores_have_no_interval() -> None:
    y = np.repeat([0, 1], 20)
    found = threshold_estimates(y, np.full((1, 40), 0.7), 0.5, np.arange(40))
    assert found["balanced_accuracy"].value == 0.5
    assert np.isnan(found["balanced_accuracy"].low)
    assert np.isnan(found["mcc"].value)


def test_metric_that_hangs_on_one_patient_has_no_interval() -> None:
    y, patients = np.array([1, 1, 0, 0]), np.array([1, 1, 2, 3])
    found = threshold_estimates(y, np.array([[0.9, 0.2, 0.3, 0.6]]), 0.5, patients)
    assert np.isnan(found["balanced_accuracy"].low)


def test_one_patient_has_no_interval() -> None:
    found = score_estimates(np.array([0, 1]), np.array([[-1.0, 2.0]]), np.array([7, 7]))
    assert np.isnan(found["loss"].low)


def test_runs_are_estimated_apart_and_a_missing_threshold_is_nan() -> None:
    rng = np.random.default_rng(5)
    y, scores, patients = rng.integers(0, 2, 50), rng.random((2, 50)), rng.integers(0, 30, 50)
    both = threshold_estimates(y, scores, np.array([np.nan, 0.4]), patients)
    second = threshold_estimates(y, scores[1:], 0.4, patients)
    for name, each in both.items():
        assert np.isnan([each.value[0], each.low[0], each.high[0]]).all()
        np.testing.assert_array_equal(np.array(each)[:, 1], np.array(second[name])[:, 0])


@FEW
@given(splits(3))
def test_multiclass_values_match_those_of_the_training(split: Split) -> None:
    y, logits = split
    found = multiclass_estimates(y, logits, np.arange(len(y)))
    expected = split_metrics(y, logits, ("a", "b", "c"))
    for name in ("auc", "auc_micro", "f1", "balanced_accuracy", "loss"):
        assert found[name].value[0] == pytest.approx(getattr(expected, name))


@FEW
@given(splits(3))
def test_multiclass_values_match_scikit_learn(split: Split) -> None:
    y, logits = split
    found = multiclass_estimates(y, logits, np.arange(len(y)))
    one_hot = np.eye(3)[y]
    for name, average in (("average_precision", "macro"), ("average_precision_micro", "micro")):
        expected = sklearn.average_precision_score(one_hot, logits, average=average)
        assert found[name].value[0] == pytest.approx(expected)
    predicted = logits.argmax(axis=1)
    if len(set(predicted)) > 1:
        assert found["mcc"].value[0] == pytest.approx(sklearn.matthews_corrcoef(y, predicted))
