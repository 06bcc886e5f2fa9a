"""Which runs are ranked against each other, and in what order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.report.synthetic import config_of, experiments
from tests.run_folders import run_metrics
from xray_hpc.report.read_run import flatten, read_run
from xray_hpc.report.run_groups import groups, leading, ranked, same_validation
from xray_hpc.report.run_result import RunResult

TWO, THREE = ["NORMAL", "PNEUMONIA"], ["Covid", "Normal", "Viral Pneumonia"]


def scored(name: str, auc: float | None, loss: float | None, status: str = "finished") -> RunResult:
    return RunResult(name, "ft", status, metrics=run_metrics({"auc": auc, "loss": loss}))


def on(name: str, data: str, classes: list[str], auc: float = 0.5, **changes: Any) -> RunResult:
    config = flatten(config_of("ft", inputs__data=data, **changes))
    metrics = run_metrics({"auc": auc}, classes=classes)
    return RunResult(name, "ft", "finished", config=config, metrics=metrics)


def test_the_best_come_first_and_unfinished_runs_not_at_all() -> None:
    runs = [
        scored("undefined", None, 0.1),
        scored("worse loss", 0.9, 0.5),
        scored("b", 0.8, 0.5),
        scored("a", 0.8, 0.5),
        scored("best", 0.95, None),
        scored("better loss", 0.9, 0.4),
        scored("failed", 0.99, 0.1, "failed"),
    ]
    order = ["best", "better loss", "worse loss", "a", "b", "undefined"]
    assert [run.name for run in ranked(runs)] == order


def test_runs_on_other_data_are_another_group(tmp_path: Path) -> None:
    sweep = experiments(tmp_path / "experiments")
    runs = [read_run(sweep.run(path.name)) for path in sorted(sweep.runs.iterdir())]
    found = {group.title: {run.model for run in group.runs} for group in groups(runs)}
    assert found == {
        "demo, 2 classes": {"tl", "stacked", "conv", "vgg"},
        "demo, 3 classes": {"lung"},
    }


def test_groups_of_one_title_are_told_apart_by_their_fingerprints() -> None:
    root = "/data/chest_xray"
    runs = [
        on(f"ft-{i}", data, TWO, data__root=root) for i, data in enumerate(("aaaa1111", "bbbb2222"))
    ]
    assert [group.title for group in groups(runs)] == [
        "chest_xray, 2 classes (aaaa11)",
        "chest_xray, 2 classes (bbbb22)",
    ]


def test_groups_take_turns_in_what_is_named_first() -> None:
    runs = [
        *(on(f"a-{auc}", "aaaa", TWO, auc) for auc in (0.7, 0.9, 0.8)),
        *(on(f"b-{auc}", "bbbb", THREE, auc) for auc in (0.5, 0.6)),
    ]
    order = ["a-0.9", "b-0.6", "a-0.8", "b-0.5", "a-0.7"]
    assert [run.name for run in leading(groups(runs))] == order


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([TWO, THREE]), st.floats(0, 1))))
def test_every_finished_run_is_in_one_group(drawn: list[tuple[str, list[str], float]]) -> None:
    runs = [on(f"ft-{i}", *which) for i, which in enumerate(drawn)]
    found = groups([*runs, RunResult("ft-missing", "ft", "missing")])
    assert sorted(run.name for group in found for run in group.runs) == sorted(r.name for r in runs)
    assert sorted(run.name for run in leading(found)) == sorted(run.name for run in runs)
    assert len({group.title for group in found}) == len(found)
    for group in found:
        assert {run.classes for run in group.runs} == {group.classes}


def test_a_subset_or_another_split_validates_on_other_images() -> None:
    whole = on("ft-1", "aaaa", TWO)
    assert same_validation([whole, on("ft-2", "aaaa", TWO, data__image_size=224)])
    assert not same_validation([whole, on("ft-3", "aaaa", TWO, data__per_class=1000)])
    assert not same_validation([whole, on("ft-4", "aaaa", TWO, data__split="random")])
