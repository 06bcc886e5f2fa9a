"""Compare the metrics with scikit-learn, and check identities that they must satisfy."""

from __future__ import annotations

import math
from dataclasses import asdict
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from sklearn.metrics import (
    accuracy_score,
    auc,
    balanced_accuracy_score,
    classification_report,
    confusion_matrix,
    log_loss,
    roc_auc_score,
)

from tests.scored_splits import FEW, THREE, TWO, Split, X, sigmoid, softmax, splits
from xray_hpc.errors import TrainingDivergedError
from xray_hpc.metrics import (
    MACRO,
    class_logits,
    class_scores,
    predicted_labels,
    roc_curves,
    split_metrics,
)
from xray_hpc.records.run_metrics import ClassMetrics, SplitMetrics


def test_split_metrics_of_two_classes_match_hand_computed_values() -> None:
    measured = split_metrics([0, 0, 0, 1, 1], sigmoid([0.1, 0.6, 0.2, 0.9, 0.4]), TWO)
    assert asdict(measured) == {
        "images": 5,
        "loss": pytest.approx(-math.log(0.9 * 0.4 * 0.8 * 0.9 * 0.4) / 5),
        "accuracy": 0.6,
        "balanced_accuracy": pytest.approx((2 / 3 + 1 / 2) / 2),
        "auc": pytest.approx(5 / 6),
        "auc_micro": None,
        "f1": pytest.approx((2 / 3 + 1 / 2) / 2),
        "sensitivity": 0.5,
        "specificity": pytest.approx(2 / 3),
        "false_negatives": 1,
        "false_positives": 1,
        "true_positives": 1,
        "true_negatives": 2,
        "tied": 0.0,
        "per_class": {
            "NORMAL": {
                "images": 3,
                "precision": pytest.approx(2 / 3),
                "recall": pytest.approx(2 / 3),
                "f1": pytest.approx(2 / 3),
                "auc": pytest.approx(5 / 6),
            },
            "PNEUMONIA": {
                "images": 2,
                "precision": 0.5,
                "recall": 0.5,
                "f1": 0.5,
                "auc": pytest.approx(5 / 6),
            },
        },
        "confusion": [[2, 1], [1, 1]],
    }


def test_split_metrics_of_three_classes_match_hand_computed_values() -> None:
    scores = [[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]
    measured = split_metrics([0, 0, 1, 2], softmax(scores), THREE)
    assert measured.confusion == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert measured.loss == pytest.approx(-math.log(0.7 * 0.3 * 0.5 * 0.8) / 4)
    assert measured.accuracy == 0.75
    assert measured.balanced_accuracy == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert measured.auc == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert measured.f1 == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert measured.per_class["Covid"] == ClassMetrics(
        images=2, precision=1.0, recall=0.5, f1=pytest.approx(2 / 3), auc=pytest.approx(1.0)
    )
    of_two = ("sensitivity", "specificity", "false_negatives", "true_positives")
    assert [getattr(measured, name) for name in of_two] == [None] * 4


@pytest.mark.parametrize("classes", [TWO, THREE, ("a", "b", "c", "d", "e")])
@FEW
@given(data=st.data())
def test_split_metrics_agree_with_scikit_learn(
    classes: tuple[str, ...], data: st.DataObject
) -> None:
    y_true, logits = data.draw(splits(len(classes)))
    two, labels = len(classes) == 2, list(range(len(classes)))
    measured, scores = split_metrics(y_true, logits, classes), class_scores(logits)
    predicted = predicted_labels(scores, 0.5 if two else None)
    assert measured.confusion == confusion_matrix(y_true, predicted, labels=labels).tolist()
    assert measured.accuracy == pytest.approx(accuracy_score(y_true, predicted))
    expected = balanced_accuracy_score(y_true, predicted)
    assert measured.balanced_accuracy == pytest.approx(expected)
    if (np.abs(logits) < 30).all():  # scikit-learn has no other loss than that of the scores
        assert measured.loss == pytest.approx(log_loss(y_true, scores, labels=labels), abs=1e-6)
    if two:
        assert measured.auc == pytest.approx(roc_auc_score(y_true, logits[:, 1]))
    else:
        truth = np.eye(len(classes))[y_true]
        assert measured.auc == pytest.approx(roc_auc_score(truth, logits, average="macro"))
        assert measured.auc_micro == pytest.approx(roc_auc_score(truth, logits, average="micro"))


@pytest.mark.parametrize("classes", [TWO, THREE])
@FEW
@given(data=st.data())
def test_per_class_metrics_agree_with_classification_report(
    classes: tuple[str, ...], data: st.DataObject
) -> None:
    y_true, logits = data.draw(splits(len(classes)))
    measured = split_metrics(y_true, logits, classes)
    report = classification_report(
        y_true,
        predicted_labels(class_scores(logits), 0.5 if len(classes) == 2 else None),
        labels=range(len(classes)),
        target_names=classes,
        output_dict=True,
        zero_division=0,
    )
    for name in classes:
        ours = measured.per_class[name]
        assert ours.images == report[name]["support"]
        assert ours.recall == pytest.approx(report[name]["recall"])
        assert ours.f1 == pytest.approx(report[name]["f1-score"])
        assert ours.precision == pytest.approx(report[name]["precision"])
    assert measured.f1 == pytest.approx(report["macro avg"]["f1-score"])


@FEW
@given(splits(2))
def test_two_class_metrics_depend_on_the_positive_score_only(split: Split) -> None:
    y_true, logits = split
    x = logits[:, 1]
    measured = split_metrics(y_true, logits, TWO)
    called = class_scores(x) > 0.5
    tn, fp, fn, tp = confusion_matrix(y_true, called, labels=[0, 1]).ravel().tolist()
    assert (tn, fp, fn, tp) == (
        measured.true_negatives,
        measured.false_positives,
        measured.false_negatives,
        measured.true_positives,
    )
    assert measured.sensitivity == tp / (tp + fn)
    assert measured.specificity == tn / (tn + fp)
    binary = np.mean(np.log1p(np.exp(np.where(y_true == 1, -x, x))))
    assert measured.loss == pytest.approx(binary, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("classes", [TWO, THREE])
@given(data=st.data())
def test_confusion_counts_sum_to_the_number_of_images(
    classes: tuple[str, ...], data: st.DataObject
) -> None:
    y_true, logits = data.draw(splits(len(classes), every_class=False))
    measured = split_metrics(y_true, logits, classes)
    confusion = np.array(measured.confusion)
    assert confusion.sum() == measured.images == len(y_true)
    assert measured.accuracy == np.trace(confusion) / len(y_true)
    images = [block.images for block in measured.per_class.values()]
    np.testing.assert_array_equal(confusion.sum(axis=1), images)


@FEW
@given(splits(3), st.permutations(range(3)))
def test_metrics_are_equivariant_to_the_order_of_classes(split: Split, order: list[int]) -> None:
    y_true, logits = split
    highest = logits.max(axis=1, keepdims=True)
    if ((logits == highest).sum(axis=1) > 1).any():
        return  # the first of equal scores is predicted
    measured = split_metrics(y_true, logits, THREE)
    names = tuple(THREE[label] for label in order)
    renamed = split_metrics(np.argsort(order)[y_true], logits[:, order], names)
    for name in THREE:
        assert asdict(renamed.per_class[name]) == pytest.approx(asdict(measured.per_class[name]))
    for name in ("loss", "accuracy", "balanced_accuracy", "auc", "auc_micro", "f1"):
        assert getattr(renamed, name) == pytest.approx(getattr(measured, name))


@FEW
@given(splits(3), st.randoms())
def test_metrics_are_invariant_to_the_order_of_images(split: Split, random: Any) -> None:
    y_true, logits = split
    order = list(range(len(y_true)))
    random.shuffle(order)
    before, after = split_metrics(*split, THREE), split_metrics(y_true[order], logits[order], THREE)
    assert after.confusion == before.confusion
    for name in ("loss", "auc", "auc_micro"):
        assert getattr(after, name) == pytest.approx(getattr(before, name))


def test_score_equal_to_the_threshold_is_negative() -> None:
    scores = sigmoid([0.5, 0.5])
    measured = split_metrics([1, 0], scores, TWO)
    assert (measured.false_negatives, measured.true_negatives) == (1, 1)
    assert split_metrics([1, 0], scores, TWO, threshold=0.4).false_positives == 1


def test_loss_of_a_certain_mistake_is_exact() -> None:
    assert split_metrics([1, 0], [[61, -61], [500, -500]], TWO).loss == pytest.approx(61 / 2)


def nulls(metrics: ClassMetrics | SplitMetrics) -> set[str]:
    return {key for key, value in vars(metrics).items() if value is None}


@pytest.mark.parametrize(("label", "undefined"), [(0, "sensitivity"), (1, "specificity")])
def test_metrics_undefined_for_a_single_class_are_none(label: int, undefined: str) -> None:
    measured = split_metrics([label, label], sigmoid([0.2, 0.7]), TWO)
    assert nulls(measured) == {"auc", "auc_micro", undefined}
    assert measured.balanced_accuracy == measured.accuracy


def test_class_without_images_has_no_metrics_and_is_left_out_of_means() -> None:
    scores = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]]
    measured = split_metrics([0, 1, 1], softmax(scores), THREE)
    absent = measured.per_class["Viral Pneumonia"]
    assert nulls(absent) == {"precision", "recall", "f1", "auc"}
    assert measured.balanced_accuracy == 0.75
    assert measured.f1 == pytest.approx(2 / 3)
    assert measured.auc == 1.0
    curves = roc_curves([0, 1, 1], softmax(scores), THREE)
    assert np.isnan(curves["Viral Pneumonia"][1]).all()
    assert auc(*curves[MACRO][:2]) == 1.0


def test_predicting_a_class_without_images_lowers_only_the_other_classes() -> None:
    scores = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]
    measured = split_metrics([0, 1, 1], softmax(scores), THREE)
    assert nulls(measured.per_class["Viral Pneumonia"]) == {"precision", "recall", "f1", "auc"}
    assert measured.f1 == pytest.approx((1 + 2 / 3) / 2)


def test_class_that_is_never_predicted_has_precision_0() -> None:
    measured = split_metrics([0, 1], sigmoid([0.7, 0.9]), TWO)
    assert measured.per_class["NORMAL"].precision == 0
    assert measured.f1 == pytest.approx(1 / 3)


def test_auc_of_both_classes_is_equal_for_a_saturated_sigmoid() -> None:
    measured = split_metrics([0, 0, 1], class_logits(np.array([[58.0], [59.0], [60.0]])), TWO)
    assert [block.auc for block in measured.per_class.values()] == [1.0, 1.0]


def approx(area: Fraction | None) -> Any:
    return None if area is None else pytest.approx(float(area))


def exact_auc(truth: list[bool], ranked: list[Any]) -> Fraction | None:
    """Return the AUC by its definition: the share of pairs in order, ties counting half."""
    pairs = [
        (high, low)
        for high, one in zip(ranked, truth, strict=True)
        for low, other in zip(ranked, truth, strict=True)
        if one and not other
    ]
    points = sum(2 * (high > low) + (high == low) for high, low in pairs)
    return Fraction(points, 2 * len(pairs)) if pairs else None


@given(st.lists(st.tuples(st.booleans(), X), min_size=1, max_size=30))
def test_auc_of_saturated_scores_equals_its_definition(images: list[tuple[bool, float]]) -> None:
    truth, ranked = map(list, zip(*images, strict=True))
    logits = class_logits(np.float32(ranked)[:, None])
    assert split_metrics(np.int64(truth), logits, TWO).auc == approx(exact_auc(truth, ranked))


def exact_log_odds(x: tuple[int, ...], k: int) -> Decimal:
    """Return the logit of class ``k`` to 60 digits, rounded to 12 so that ties stay ties."""
    with localcontext() as context:
        context.prec = 60
        p = [Decimal(value).exp() for value in x]
        return round((p[k] / (sum(p) - p[k])).ln(), 12)


CLASS_OUTPUTS = st.tuples(*[st.integers(-6, 6)] * 3)
SHIFTS = st.sampled_from([(0, 0, 0), (61, 0, 0), (0, 61, 0), (0, 0, 61), (7, 7, 7)])


@FEW
@given(st.lists(st.tuples(st.integers(0, 2), CLASS_OUTPUTS, SHIFTS), min_size=1, max_size=12))
def test_areas_of_three_classes_equal_their_definition(
    images: list[tuple[int, tuple[int, ...], tuple[int, ...]]],
) -> None:
    y_true = [label for label, _, _ in images]
    outputs = [tuple(map(sum, zip(x, shift, strict=True))) for _, x, shift in images]
    measured = split_metrics(y_true, class_logits(np.float32(outputs)), THREE)
    ranked = [[exact_log_odds(x, k) for x in outputs] for k in range(3)]
    truths = [[label == k for label in y_true] for k in range(3)]
    exact = [exact_auc(*pair) for pair in zip(truths, ranked, strict=True)]
    exact.append(exact_auc([*chain(*truths)], [*chain(*ranked)]))
    areas = [*(block.auc for block in measured.per_class.values()), measured.auc_micro]
    assert areas == list(map(approx, exact))


@pytest.mark.parametrize("k", [1, 2, 3, 7])
@given(data=st.data())
def test_scores_of_class_logits_are_those_of_the_activation(k: int, data: st.DataObject) -> None:
    row = st.lists(st.floats(-700, 700, width=32), min_size=k, max_size=k)
    x = np.array(data.draw(st.lists(row, min_size=1, max_size=5)))
    logits = class_logits(np.float32(x))
    expected = special.softmax(x, axis=1) if k > 1 else special.expit(np.hstack([-x, x]))
    np.testing.assert_allclose(class_scores(logits), expected, rtol=1e-9, atol=1e-300)
    assert np.isfinite(logits).all()


@FEW
@given(st.lists(st.floats(-1000, 1000, width=32), min_size=2, max_size=6), st.randoms())
def test_equal_scores_have_equal_logits(x: list[float], random: Any) -> None:
    others = x[1:]
    random.shuffle(others)
    rows = np.float32([x, [x[0], *others], [value + 2048 for value in x]])
    logits = class_logits(rows)[:, 0]
    assert logits[1] == logits[0]
    if (rows[2] - 2048 == rows[0]).all():
        assert logits[2] == logits[0]


def test_tied_is_the_share_of_images_with_the_logit_of_another() -> None:
    assert split_metrics([0, 0, 1, 1], sigmoid([0.1, 0.7, 0.7, 0.9]), TWO).tied == 0.5
    outputs = np.float32([[0, 1, 2], [0, 2, 1], [1, 2, 3], [5, 0, 0]])  # the first has p_0 of 0.09
    assert split_metrics([0, 0, 1, 2], class_logits(outputs), THREE).tied == 0.75


def test_macro_average_is_undefined_if_only_one_class_has_images() -> None:
    scores = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]
    assert split_metrics([0, 0], softmax(scores), THREE).auc is None
    assert np.isnan(roc_curves([0, 0], softmax(scores), THREE)[MACRO][1]).all()


def test_class_logits_are_log_odds() -> None:
    np.testing.assert_array_equal(class_logits(np.float32([[61]])), [[-61, 61]])
    np.testing.assert_array_equal(class_logits(np.float32([[1, 62]])), [[-61, 61]])
    three = class_logits(np.log([[0.5, 0.25, 0.25]]))
    np.testing.assert_allclose(three, np.log([[1, 1 / 3, 1 / 3]]), atol=1e-15)


def test_outputs_that_are_not_finite_have_no_finite_logits() -> None:
    inf, nan = math.inf, math.nan
    outputs = np.float32([[inf, 0, 0], [inf, -inf, 0], [nan, 0, 0]])
    assert not np.isfinite(class_logits(outputs)).all(axis=1).any()
    assert not np.isfinite(class_logits(np.float32([[inf], [nan]]))).any()


def test_scores_that_are_not_finite_raise_training_diverged() -> None:
    with pytest.raises(TrainingDivergedError, match="1 of 2 scores"):
        split_metrics([0, 1], sigmoid([0.5, float("nan")]), TWO)


@pytest.mark.parametrize(
    ("y_true", "logits"),
    [
        ([], np.empty((0, 2))),
        ([0, 1], [[0.5, 0.5]]),
        ([0, 1], [0.5, 0.5]),
        ([0], [[0.2, 0.3, 0.5]]),
        ([[0]], [[0.5, 0.5]]),
        ([2], [[0.5, 0.5]]),
    ],
)
def test_invalid_labels_or_logits_raise_value_error(y_true: Any, logits: Any) -> None:
    with pytest.raises(ValueError, match="must"):
        split_metrics(y_true, logits, TWO)
