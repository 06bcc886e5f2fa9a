"""Metrics against scikit-learn, and the identities they must keep."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    auc,
    confusion_matrix,
    log_loss,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from xray_hpc.errors import UserError
from xray_hpc.metrics import binary_metrics, roc_points

# Few distinct scores make ties, 0.5 among them, which is where definitions differ.
TIED = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
SCORE = st.one_of(TIED, st.floats(0, 1))
SPLIT = st.lists(st.tuples(st.integers(0, 1), SCORE), min_size=1, max_size=60)
BOTH = SPLIT.filter(lambda pairs: {y for y, _ in pairs} == {0, 1})

Pairs = list[tuple[int, float]]


def columns(pairs: Pairs) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return np.array([y for y, _ in pairs]), np.array([score for _, score in pairs])


def test_a_worked_example() -> None:
    assert binary_metrics([0, 0, 0, 1, 1], [0.1, 0.6, 0.2, 0.9, 0.4]) == {
        "images": 5,
        "loss": pytest.approx(-math.log(0.9 * 0.4 * 0.8 * 0.9 * 0.4) / 5),
        "accuracy": 0.6,
        "auc": pytest.approx(5 / 6),
        "sensitivity": 0.5,
        "specificity": pytest.approx(2 / 3),
        "false_negatives": 1,
        "false_positives": 1,
        "true_positives": 1,
        "true_negatives": 2,
    }


@given(BOTH)
def test_metrics_agree_with_scikit_learn(pairs: Pairs) -> None:
    y_true, scores = columns(pairs)
    measured = binary_metrics(y_true, scores)
    called = (scores > 0.5).astype(int)
    tn, fp, fn, tp = confusion_matrix(y_true, called, labels=[0, 1]).ravel().tolist()
    assert measured["accuracy"] == pytest.approx(accuracy_score(y_true, called))
    assert measured["auc"] == pytest.approx(roc_auc_score(y_true, scores))
    assert measured["sensitivity"] == pytest.approx(recall_score(y_true, called))
    assert measured["specificity"] == pytest.approx(recall_score(y_true, called, pos_label=0))
    assert measured["loss"] == pytest.approx(log_loss(y_true, np.clip(scores, 1e-7, 1 - 1e-7)))
    assert (tn, fp, fn, tp) == (
        measured["true_negatives"],
        measured["false_positives"],
        measured["false_negatives"],
        measured["true_positives"],
    )


@given(BOTH)
def test_roc_points_are_scikit_learns_and_enclose_the_auc(pairs: Pairs) -> None:
    y_true, scores = columns(pairs)
    fpr, tpr, thresholds = roc_points(y_true, scores)
    for ours, theirs in zip((fpr, tpr, thresholds), roc_curve(y_true, scores), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert thresholds[0] == math.inf
    assert auc(fpr, tpr) == pytest.approx(binary_metrics(y_true, scores)["auc"])


@given(SPLIT)
def test_the_four_counts_make_up_the_images(pairs: Pairs) -> None:
    y_true, scores = columns(pairs)
    m = binary_metrics(y_true, scores)
    hits = m["true_positives"], m["true_negatives"]
    misses = m["false_positives"], m["false_negatives"]
    assert sum(n for n in hits + misses if n is not None) == m["images"] == len(pairs)
    assert m["accuracy"] == sum(n for n in hits if n is not None) / len(pairs)


@given(BOTH)
def test_exchanging_the_classes_exchanges_the_misses(pairs: Pairs) -> None:
    y_true, scores = columns([(y, score) for y, score in pairs if score != 0.5] or pairs)
    if len(set(y_true.tolist())) < 2 or (scores == 0.5).any():
        return
    m, mirrored = binary_metrics(y_true, scores), binary_metrics(1 - y_true, 1 - scores)
    assert m["false_negatives"] == mirrored["false_positives"]
    assert m["true_positives"] == mirrored["true_negatives"]
    assert m["sensitivity"] == mirrored["specificity"]
    assert m["loss"] == pytest.approx(mirrored["loss"])


@given(BOTH, st.randoms())
def test_the_order_of_the_images_does_not_matter(pairs: Pairs, random: Any) -> None:
    before = binary_metrics(*columns(pairs))
    random.shuffle(pairs)
    assert binary_metrics(*columns(pairs)) == pytest.approx(before)


def test_a_score_at_the_threshold_is_negative() -> None:
    m = binary_metrics([1, 0], [0.5, 0.5])
    assert (m["false_negatives"], m["true_negatives"]) == (1, 1)
    assert binary_metrics([1, 0], [0.5, 0.5], threshold=0.4)["false_positives"] == 1


def test_a_sure_mistake_costs_a_finite_loss() -> None:
    assert binary_metrics([1], [0.0])["loss"] == pytest.approx(-math.log(1e-7))


@pytest.mark.parametrize(("label", "undefined"), [(0, "sensitivity"), (1, "specificity")])
def test_what_one_class_cannot_tell_is_none(label: int, undefined: str) -> None:
    m = binary_metrics([label, label], [0.2, 0.7])
    assert {key for key, value in m.items() if value is None} == {"auc", undefined}


def test_a_rate_without_images_is_nan() -> None:
    fpr, tpr, _ = roc_points([1, 1], [0.2, 0.7])
    assert np.isnan(fpr).all()
    np.testing.assert_array_equal(tpr, [0, 0.5, 1])


def test_float32_scores_of_a_network_are_taken_as_they_are() -> None:
    scores = np.array([0.1, 0.9], dtype=np.float32)
    assert binary_metrics(np.array([0, 1]), scores)["loss"] == pytest.approx(
        -math.log(0.9), rel=1e-6
    )


def test_a_diverged_training_is_named() -> None:
    with pytest.raises(UserError, match="1 of 2 scores are not finite; the training diverged"):
        binary_metrics([0, 1], [0.5, float("nan")])


@pytest.mark.parametrize(
    ("y_true", "scores"), [([], []), ([0, 1], [0.5]), ([[0], [1]], [[0.1], [0.2]]), ([2], [0.5])]
)
def test_arrays_that_are_no_split_are_refused(y_true: Any, scores: Any) -> None:
    with pytest.raises(ValueError, match="must"):
        binary_metrics(y_true, scores)
