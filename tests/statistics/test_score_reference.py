"""Compare with values that independent software gives for score sets: R (pROC, vcd, survey) and
scikit-learn; a value has the tolerance that both reach."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import logit

from xray_hpc.metrics import class_logits, class_scores
from xray_hpc.statistics.binary_metrics import (
    average_precision,
    confusion_counts,
    squared_errors,
    threshold_metrics,
)
from xray_hpc.statistics.calibration import (
    confidences,
    expected_calibration_error,
    fitted_temperature,
    mean_log_loss,
    scaled_logits,
)
from xray_hpc.statistics.operating_points import chosen_thresholds
from xray_hpc.statistics.patient_estimates import (
    multiclass_estimates,
    score_estimates,
    threshold_estimates,
)
from xray_hpc.statistics.ranking_influence import auc_influence

FOLDER = Path(__file__).parent / "reference"
VALUES: list[dict[str, Any]] = json.loads((FOLDER / "score_values.json").read_text())
Numbers = np.ndarray[Any, Any]

# The references predict positive from the threshold on, this project above it.
BELOW_HALF = float(np.nextafter(0.5, 0))


def columns(name: str) -> dict[str, list[str]]:
    with (FOLDER / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {key: [row[key] for row in rows] for key in rows[0]}


SETS = {name: columns(name) for name in ("a", "b", "c", "d_validation", "d_test", "e")}


def scored(name: str, model: str) -> tuple[Numbers, Numbers]:
    table = SETS[name]
    return np.array(table["y_true"], int), np.array(table[model], float)


def three_classes(model: str) -> tuple[Numbers, Numbers]:
    table = SETS["e"]
    scores = np.array([table[f"{model}_p{label}"] for label in range(3)], float).T
    return np.array(table["y_true"], int), class_logits(np.log(scores))


def two_columns(scores: Numbers) -> Numbers:
    return np.stack([-logit(scores), logit(scores)], axis=1)


def cases(*statistics: str, known: bool = True) -> Any:
    rows = [row for row in VALUES if row["statistic"] in statistics]
    rows = [row for row in rows if (row["value"] is not None) == known]
    assert rows
    ids = [f"{row['set']}-{row['model']}-{row['statistic']}" for row in rows]
    return pytest.mark.parametrize("row", rows, ids=ids)


def assert_reached(row: dict[str, Any], value: Any) -> None:
    expected = np.asarray(row["value"], float)
    np.testing.assert_array_less(
        np.abs(np.asarray(value, float) - expected), row["tol_abs"] + 1e-12
    )


@cases("balanced_accuracy", "f1", "mcc")
def test_threshold_metrics_reach_the_reference(row: dict[str, Any]) -> None:
    y, scores = scored(row["set"], row["model"])
    patients = np.array(SETS[row["set"]]["patient"])
    found = threshold_estimates(y, scores[None], BELOW_HALF, patients)[row["statistic"]]
    assert_reached(row, found.value[0])


@cases("mcc", known=False)
def test_mcc_is_undefined_where_the_reference_is(row: dict[str, Any]) -> None:
    y, scores = scored(row["set"], row["model"])
    assert np.isnan(threshold_metrics(confusion_counts(y, scores, BELOW_HALF))["mcc"])


@cases("counts")
def test_confusion_counts_reach_the_reference(row: dict[str, Any]) -> None:
    y, scores = scored(row["set"], row["model"])
    assert [float(cell) for cell in confusion_counts(y, scores, BELOW_HALF)] == row["value"]


@cases("average_precision", "brier")
def test_score_metrics_reach_the_reference(row: dict[str, Any]) -> None:
    y, scores = scored(row["set"], row["model"])
    if row["statistic"] == "brier":
        assert_reached(row, squared_errors(y, scores).mean())
    else:
        assert_reached(row, average_precision(y, scores))
        patients = np.array(SETS[row["set"]]["patient"])
        logits = logit(scores.clip(1e-9, 1 - 1e-9))  # scores of two decimals are 0 and 1
        found = score_estimates(y, logits[None], patients)["average_precision"]
        assert_reached(row, found.value[0])


@cases("auc")
def test_auc_influence_reaches_the_reference(row: dict[str, Any]) -> None:
    assert_reached(row, auc_influence(*scored(row["set"], row["model"]))[0])


@cases("ece_equal_width")
def test_expected_calibration_error_reaches_the_reference(row: dict[str, Any]) -> None:
    y, scores = scored(row["set"], row["model"])
    assert_reached(row, expected_calibration_error(y, scores))


@cases("youden")
def test_youden_threshold_reaches_the_reference(row: dict[str, Any]) -> None:
    y, scores = scored(row["set"], row["model"])
    threshold = chosen_thresholds(y, scores)["youden"]
    if np.ptp(scores) == 0:
        assert np.isnan(threshold)
        return
    assert threshold == pytest.approx(float(row["threshold_midpoints"][0]), abs=1e-9)
    found = threshold_metrics(confusion_counts(y, scores, threshold))
    assert_reached(row, found["sensitivity"] + found["specificity"] - 1)


RULES = {"youden": "youden", "sens95": "sensitivity", "spec90": "specificity"}


@cases(*(f"op_{rule}_threshold" for rule in RULES))
def test_operating_points_reach_the_reference(row: dict[str, Any]) -> None:
    rule = row["statistic"].split("_")[1]
    model = row["model"]
    threshold = chosen_thresholds(*scored("d_validation", model))[RULES[rule]]
    assert threshold == pytest.approx(row["value"][1], abs=1e-9)
    same = {
        each["statistic"]: each for each in VALUES if (each["set"], each["model"]) == ("d", model)
    }
    # The test score of an image may be equal to the midpoint, which the references call positive.
    counts = confusion_counts(*scored("d_test", model), threshold - 1e-12)
    assert [float(cell) for cell in counts] == same[f"op_{rule}_test_counts_midpoint"]["value"]
    found = threshold_metrics(confusion_counts(*scored("d_validation", model), threshold))
    both = [found["sensitivity"], found["specificity"]]
    assert_reached(same[f"op_{rule}_validation"], both)


@cases("temperature")
def test_temperature_reaches_the_reference(row: dict[str, Any]) -> None:
    model = row["model"]
    same = {
        each["statistic"]: each for each in VALUES if (each["set"], each["model"]) == ("d", model)
    }
    (y, scores), (test_y, test_scores) = scored("d_validation", model), scored("d_test", model)
    logits, test = two_columns(scores), two_columns(test_scores)
    temperature = fitted_temperature(y, logits)
    assert_reached(row, temperature)
    after, test_after = scaled_logits(logits, temperature), scaled_logits(test, temperature)
    losses = [mean_log_loss(y, x) for x in (logits, after)]
    assert_reached(same["nll"], losses + [mean_log_loss(test_y, x) for x in (test, test_after)])
    scaled = class_scores(test_after)[:, 1]
    brier = [squared_errors(test_y, each).mean() for each in (test_scores, scaled)]
    ece = [expected_calibration_error(test_y, each) for each in (test_scores, scaled)]
    assert_reached(same["temperature_test_scores"], brier + ece)


MULTICLASS = {
    "macro_auc": "auc",
    "micro_auc": "auc_micro",
    "macro_f1": "f1",
    "balanced_accuracy3": "balanced_accuracy",
    "mcc3": "mcc",
    "brier3": "brier",
    "nll3": "loss",
}


@cases(*MULTICLASS)
def test_multiclass_metrics_reach_the_reference(row: dict[str, Any]) -> None:
    y, logits = three_classes(row["model"])
    found = multiclass_estimates(y, logits, np.array(SETS["e"]["patient"]))
    assert_reached(row, found[MULTICLASS[row["statistic"]]].value[0])


@cases("ovr_auc")
def test_one_against_the_rest_reaches_the_reference(row: dict[str, Any]) -> None:
    y, logits = three_classes(row["model"])
    assert_reached(row, [auc_influence(y == label, logits[:, label])[0] for label in range(3)])


@cases("ece3_confidence_equal_width")
def test_calibration_error_of_three_classes_reaches_the_reference(row: dict[str, Any]) -> None:
    right, confidence = confidences(*three_classes(row["model"]))
    assert_reached(row, expected_calibration_error(right, confidence))


@cases("temperature_self", "nll_temperature_self")
def test_temperature_of_three_classes_reaches_the_reference(row: dict[str, Any]) -> None:
    y, logits = three_classes(row["model"])
    temperature = fitted_temperature(y, logits)
    loss = mean_log_loss(y, scaled_logits(logits, temperature))
    assert_reached(row, temperature if row["statistic"] == "temperature_self" else loss)
