"""Tests of grouping runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.report.fake_runs import fake_config
from tests.report.fake_sweeps import experiment_sweep
from tests.run_folders import run_metrics
from xray_hpc.report.dataset_groups import (
    group_runs,
    share_validation_split,
)
from xray_hpc.report.read_run import flatten, read_run
from xray_hpc.report.run_result import RunResult

TWO, THREE = ["NORMAL", "PNEUMONIA"], ["Covid", "Normal", "Viral Pneumonia"]


def run_on(name: str, data: str, classes: list[str], auc: float = 0.5, **changes: Any) -> RunResult:
    config = flatten(fake_config("ft", inputs__data=data, **changes))
    metrics = run_metrics({"auc": auc}, classes=classes)
    return RunResult(name, "ft", "finished", config=config, metrics=metrics)


def test_runs_are_grouped_by_data_set(tmp_path: Path) -> None:
    sweep = experiment_sweep(tmp_path / "experiments")
    runs = [read_run(sweep.run(path.name)) for path in sorted(sweep.runs.iterdir())]
    models = {group.title: {run.model for run in group.runs} for group in group_runs(runs)}
    assert models == {
        "demo, 2 classes": {"tl", "stacked", "conv", "vgg"},
        "demo, 3 classes": {"lung"},
    }


def test_equal_titles_are_extended_by_fingerprints() -> None:
    root = "/data/chest_xray"
    runs = [
        run_on(f"ft-{i}", data, TWO, data__root=root)
        for i, data in enumerate(("aaaa1111", "bbbb2222"))
    ]
    assert [group.title for group in group_runs(runs)] == [
        "chest_xray, 2 classes (aaaa11)",
        "chest_xray, 2 classes (bbbb22)",
    ]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([TWO, THREE]), st.floats(0, 1))))
def test_every_finished_run_is_in_one_group(drawn: list[tuple[str, list[str], float]]) -> None:
    runs = [run_on(f"ft-{i}", *which) for i, which in enumerate(drawn)]
    groups = group_runs([*runs, RunResult("ft-missing", "ft", "missing")])
    assert sorted(run.name for group in groups for run in group.runs) == sorted(
        r.name for r in runs
    )
    assert len({group.title for group in groups}) == len(groups)
    for group in groups:
        assert {run.classes for run in group.runs} == {group.classes}


def test_subset_or_other_split_has_a_different_validation_split() -> None:
    whole = run_on("ft-1", "aaaa", TWO)
    assert share_validation_split([whole, run_on("ft-2", "aaaa", TWO, data__image_size=224)])
    assert not share_validation_split([whole, run_on("ft-3", "aaaa", TWO, data__per_class=1000)])
    assert not share_validation_split([whole, run_on("ft-4", "aaaa", TWO, data__split="random")])
