"""Test reading and writing ``metrics.json``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.run_folders import run_metrics
from xray_hpc.errors import DataError
from xray_hpc.records.json_record import write_json_record
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_metrics import MEASURES, RunMetrics, read_metrics

CLASSES = ("Covid", "Normal", "Viral Pneumonia")


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    """Return a run folder with the metrics of three classes."""
    paths = RunPaths(tmp_path)
    write_json_record(paths.metrics, run_metrics(classes=CLASSES))
    return paths


def test_metrics_round_trip(paths: RunPaths) -> None:
    assert read_metrics(paths) == run_metrics(classes=CLASSES)


def test_metrics_file_has_every_field(paths: RunPaths) -> None:
    written = json.loads(paths.metrics.read_text())
    assert list(written) == [field.name for field in dataclasses.fields(RunMetrics)]
    assert set(MEASURES) < set(written["test"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda m: m.pop("classes"), "classes is missing"),
        (lambda m: m.update(classes="ab"), "classes is 'ab'"),
        (lambda m: m.update(classes=["a", "a"]), "classes is ['a', 'a']"),
        (lambda m: m.pop("threshold"), "threshold is missing"),
        (lambda m: m.update(test=None), "test is None"),
        (lambda m: m["test"].pop("f1"), "test.f1 is missing"),
        (lambda m: m["test"].update(auc="good"), "test.auc is 'good'; it must be a number"),
        (lambda m: m["test"].update(auc=float("nan")), "test.auc is nan; it must be finite"),
        (lambda m: m["test"].update(images=True), "test.images is True"),
        (lambda m: m["test"].pop("per_class"), "test.per_class is missing"),
        (lambda m: m["test"]["per_class"]["Covid"].pop("auc"), "test.per_class.Covid.auc is"),
        (lambda m: m["test"]["per_class"].update(Covid=0.5), "test.per_class.Covid is 0.5"),
        (lambda m: m["test"]["per_class"].update(Flu=m["test"]["per_class"]["Covid"]), "confusion"),
        (lambda m: m.update(classes=["a", "b", "c"]), "validation.per_class is"),
        (lambda m: m["test"]["confusion"][0].pop(), "confusion is"),
        (lambda m: m["test"]["confusion"][0].__setitem__(1, -1), "confusion is"),
        (lambda m: m["test"].update(images=9), "must hold counts that add up to the 9 images"),
    ],
)
def test_read_metrics_error_names_the_first_wrong_key(
    paths: RunPaths, damage: Callable[[dict[str, Any]], object], message: str
) -> None:
    metrics = json.loads(paths.metrics.read_text())
    damage(metrics)
    paths.metrics.write_text(json.dumps(metrics))
    with pytest.raises(DataError) as caught:
        read_metrics(paths)
    assert str(caught.value).startswith(f"{paths.metrics}: ")
    assert message in str(caught.value)
