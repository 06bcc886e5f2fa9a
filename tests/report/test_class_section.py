"""The report's section on classes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tests.report.drawing import runs_of
from tests.report.synthetic import Drawn, experiments, three_classes, write_run
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report.class_section import classes_section
from xray_hpc.report.run_groups import groups, ranked
from xray_hpc.report.run_result import RunResult


def section(runs: list[RunResult]) -> list[str]:
    return classes_section(groups(runs))


def cells(table: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def test_each_class_of_a_few_runs_has_its_row(sweep: SweepPaths) -> None:
    runs = runs_of(sweep)
    _, text, table = section(runs)
    assert text.startswith("How every run tells the test images apart. Precision is")
    best = [run.name for run in ranked(runs)]
    assert [row[:3] for row in cells(table)] == [
        [name, *of_class] for name in best for of_class in (["NORMAL", "27"], ["PNEUMONIA", "53"])
    ]


def test_of_many_runs_only_the_best_is_shown(tmp_path: Path) -> None:
    runs = runs_of(three_classes(tmp_path / "three"))
    _, text, table, head, _ = section(runs)
    best = ranked(runs)[0].name
    assert text.startswith("How the best run by validation AUC tells")
    assert {row[0] for row in cells(table)} == {best}
    assert head == f"What {best} took for what:"


def test_every_data_set_has_its_best_run(tmp_path: Path) -> None:
    _, text, table, *_ = section(runs_of(experiments(tmp_path / "experiments")))
    assert text.startswith("How the best run by validation AUC on each data set tells")
    assert [row[0].split("-")[0] for row in cells(table)] == ["conv"] * 2 + ["lung"] * 3


def test_mistakes_come_the_most_frequent_first(tmp_path: Path) -> None:
    def mixed_up(run: RunResult) -> RunResult:
        assert run.metrics
        confusion = [[20, 1, 4], [0, 25, 0], [10, 0, 0]]
        test = dataclasses.replace(run.metrics.test, images=60, confusion=confusion)
        metrics = dataclasses.replace(run.metrics, test=test)
        return RunResult(run.name, run.model, run.status, metrics=metrics)

    (run, *_) = runs_of(three_classes(tmp_path / "three"))
    *_, table = section([mixed_up(run)])
    assert cells(table) == [
        ["Viral Pneumonia", "Covid", "10", "100.0%"],
        ["Covid", "Viral Pneumonia", "4", "16.0%"],
        ["Covid", "Normal", "1", "4.0%"],
    ]


def test_a_run_without_mistakes_says_so(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    run = write_run(sweep, "lung", Drawn(skill=50, classes=("a", "b", "c")))
    *_, text = section(runs_of(sweep))
    assert text == f"{run.name} took no test image for another class."
