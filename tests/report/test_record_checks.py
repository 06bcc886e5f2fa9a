"""What is wrong with a metrics.json, in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.report.synthetic import LUNGS, Drawn, write_run
from xray_hpc.errors import UserError
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report.record_checks import check_metrics


@pytest.fixture
def metrics(tmp_path: Path) -> dict[str, Any]:
    """Those of a run of three classes, 80 test images."""
    run = write_run(SweepPaths(tmp_path), "lung", Drawn(classes=LUNGS))
    value = json.loads(run.metrics.read_text())
    assert isinstance(value, dict)
    return value


def test_sound_metrics_pass(metrics: dict[str, Any]) -> None:
    check_metrics(metrics)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda m: m.pop("classes"), "metrics.json has no classes"),
        (
            lambda m: m.update(classes="ab"),
            "metrics.json: classes is 'ab', not two or more different names",
        ),
        (
            lambda m: m.update(classes=["a", "a"]),
            "metrics.json: classes is ['a', 'a'], not two or more different names",
        ),
        (lambda m: m.pop("threshold"), "metrics.json has no threshold"),
        (lambda m: m.update(test=None), "metrics.json has no test"),
        (lambda m: m["test"].pop("f1"), "metrics.json has no test.f1"),
        (lambda m: m["test"].pop("auc_micro"), "metrics.json has no test.auc_micro"),
        (
            lambda m: m["test"].update(balanced_accuracy="good"),
            "metrics.json: test.balanced_accuracy is 'good', not a number",
        ),
        (lambda m: m["test"].pop("per_class"), "metrics.json has no test.per_class"),
        (
            lambda m: m["test"]["per_class"].pop("Covid"),
            "metrics.json: test.per_class is not of its classes",
        ),
        (
            lambda m: m["test"]["per_class"]["Covid"].pop("recall"),
            "metrics.json has no test.per_class.Covid.recall",
        ),
        (
            lambda m: m["test"]["per_class"].update(Covid=0.5),
            "metrics.json has no test.per_class.Covid.images",
        ),
        (
            lambda m: m["test"].pop("confusion"),
            "metrics.json: test.confusion is no 3 x 3 table of counts",
        ),
        (
            lambda m: m["test"]["confusion"][0].pop(),
            "metrics.json: test.confusion is no 3 x 3 table of counts",
        ),
        (
            lambda m: m["test"]["confusion"][0].__setitem__(1, -1),
            "metrics.json: test.confusion is no 3 x 3 table of counts",
        ),
        (
            lambda m: m["test"].update(confusion=[[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
            "metrics.json: test.confusion counts 3 images of 80",
        ),
    ],
)
def test_the_first_thing_wrong_is_named(
    metrics: dict[str, Any], spoil: Callable[[dict[str, Any]], object], reason: str
) -> None:
    spoil(metrics)
    with pytest.raises(UserError) as refusal:
        check_metrics(metrics)
    assert str(refusal.value) == reason
