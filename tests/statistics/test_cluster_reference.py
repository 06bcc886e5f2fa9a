"""Compare clustered inference with independent values: pROC and survey of R, clust.bin.pair, and
Cleveland Clinic's code for Obuchowski's variance; a value has the tolerance that all reach."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pytest

from tests.statistics.test_score_reference import BELOW_HALF, FOLDER, SETS
from xray_hpc.statistics.clustered_auc import (
    AucComponents,
    auc_components,
    auc_covariance,
    auc_differences,
    auc_estimates,
)
from xray_hpc.statistics.clustered_proportions import accuracy_differences, binary_proportions
from xray_hpc.statistics.paired_difference import holm

VALUES: list[dict[str, Any]] = json.loads((FOLDER / "cluster_values.json").read_text())
Numbers = np.ndarray[Any, Any]
# A difference without variance has no interval here, where the references give an empty one.
CERTAIN = {"model_perfect", "model_perfect_b", "model_perfect_low", "model_inverted", "model_const"}


class ScoreSet:
    """The models of a set."""

    def __init__(self, name: str) -> None:
        table = SETS[name]
        self.models = [column for column in table if column.startswith("model")]
        self.y = np.array(table["y_true"], int)
        self.scores = np.array([table[model] for model in self.models], float)
        self.patients = np.array(table["patient"])

    def components(self) -> AucComponents:
        return auc_components(self.y, self.scores, self.patients)

    def correct(self) -> Numbers:
        return (self.scores > BELOW_HALF) == (self.y == 1)


@functools.cache
def score_set(name: str) -> ScoreSet:
    return ScoreSet(name)


def values_of(*statistics: str) -> list[Any]:
    return [
        pytest.param(value, id=f"{value['set']}-{'-'.join(value['models'])}-{value['statistic']}")
        for value in VALUES
        if value["statistic"] in statistics
    ]


def assert_meets(found: object, value: dict[str, Any]) -> None:
    expected = [np.nan if v is None else float(v) for v in np.atleast_1d(value["value"])]
    tolerance = np.max(value["tolerance"])
    np.testing.assert_allclose(np.atleast_1d(found), expected, rtol=1e-6, atol=tolerance)


@pytest.mark.parametrize("value", values_of("auc", "obuchowski_var", "auc_recommended_ci"))
def test_auc_meets_the_reference(value: dict[str, Any]) -> None:
    scored = score_set(value["set"])
    components, model = scored.components(), scored.models.index(value["models"][0])
    estimate = auc_estimates(components)
    found = {
        "auc": components.value[model],
        "obuchowski_var": auc_covariance(components, components)[model],
        "auc_recommended_ci": (estimate.low[model], estimate.high[model]),
    }
    assert_meets(found[value["statistic"]], value)


@pytest.mark.parametrize("value", values_of("delong_var"))
def test_auc_variance_of_one_image_per_patient_is_that_of_delong(value: dict[str, Any]) -> None:
    scored = score_set(value["set"])
    components = auc_components(scored.y, scored.scores, np.arange(len(scored.y)))
    model = scored.models.index(value["models"][0])
    assert_meets(auc_covariance(components, components)[model], value)


@pytest.mark.parametrize(
    "value",
    values_of(
        *(f"{name}_cluster_wilson_satt" for name in ("accuracy", "sensitivity", "specificity"))
    ),
)
def test_proportion_interval_meets_the_reference(value: dict[str, Any]) -> None:
    scored = score_set(value["set"])
    found = binary_proportions(scored.y, scored.scores, BELOW_HALF, scored.patients)
    estimate = found[value["statistic"].partition("_")[0]]
    model = scored.models.index(value["models"][0])
    assert_meets((estimate.low[model], estimate.high[model]), value)


@pytest.mark.parametrize("value", values_of("obuchowski_z", "obuchowski_p", "obuchowski_diff_ci"))
def test_auc_difference_meets_the_reference(value: dict[str, Any]) -> None:
    scored = score_set(value["set"])
    first, second = (scored.models.index(model) for model in value["models"])
    found = auc_differences(scored.components(), first)
    if CERTAIN.issuperset(value["models"]) and found.value[second]:
        assert np.isnan([found.p[second], found.low[second], found.high[second]]).all()
        return
    limits = found.low[second], found.high[second]
    statistics = {"obuchowski_z": found.statistic[second], "obuchowski_p": found.p[second]}
    assert_meets(statistics.get(value["statistic"], limits), value)


@pytest.mark.parametrize("value", values_of("mcnemar_cluster_obuchowski98", "acc_diff_cluster_se"))
def test_accuracy_difference_meets_the_reference(value: dict[str, Any]) -> None:
    scored = score_set(value["set"])
    first, second = (scored.models.index(model) for model in value["models"])
    found = accuracy_differences(scored.correct(), first, scored.patients)
    if np.isnan(found.error[second]):
        assert CERTAIN.issuperset(value["models"])
        return
    if value["value"] == [None, 1.0]:  # equal models: 0 / 0 in the reference
        assert (found.statistic[second], found.p[second]) == (0, 1)
        return
    test = found.statistic[second] ** 2, found.p[second]
    assert_meets(found.error[second] if "se" in value["statistic"][-2:] else test, value)


@pytest.mark.parametrize("name", ["a", "b", "d_test", "d_validation"])
def test_holm_meets_the_reference(name: str) -> None:
    pairs = [v for v in VALUES if v["set"] == name and v["statistic"] == "obuchowski_p"]
    adjusted = [v for v in VALUES if v["set"] == name and v["statistic"] == "obuchowski_p_holm"]
    assert [v["models"] for v in pairs] == [v["models"] for v in adjusted]
    found = holm(np.array([v["value"] for v in pairs]))
    np.testing.assert_allclose(found, [v["value"] for v in adjusted], rtol=1e-6, atol=1e-9)
