"""Tests of the section on per-class metrics."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tests.report.fake_runs import FakeRun, write_run
from tests.report.fake_sweeps import experiment_sweep, read_runs, three_class_sweep
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report.class_section import class_section
from xray_hpc.report.dataset_groups import group_runs, rank_runs
from xray_hpc.report.run_result import RunResult


def section(runs: list[RunResult]) -> list[str]:
    return class_section(group_runs(runs))


def cells(table: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def test_section_shows_every_class_of_a_few_runs(sweep: SweepPaths) -> None:
    runs = read_runs(sweep)
    _, text, table = section(runs)
    assert text.startswith("Metrics of every run on the test images. Precision = TP / (TP + FP)")
    best = [run.name for run in rank_runs(runs)]
    assert [row[:3] for row in cells(table)] == [
        [name, *cells] for name in best for cells in (["NORMAL", "27"], ["PNEUMONIA", "53"])
    ]


def test_section_shows_only_the_best_of_many_runs(tmp_path: Path) -> None:
    runs = read_runs(three_class_sweep(tmp_path / "three"))
    _, text, table, heading, _ = section(runs)
    best = rank_runs(runs)[0].name
    assert text.startswith("Metrics of the best run by validation AUC on the test images.")
    assert {row[0] for row in cells(table)} == {best}
    assert heading == f"Most frequent misclassifications of {best}:"


def test_section_shows_the_best_run_of_each_data_set(tmp_path: Path) -> None:
    _, text, table, *_ = section(read_runs(experiment_sweep(tmp_path / "experiments")))
    assert text.startswith("Metrics of the best run by validation AUC on each data set on")
    assert [row[0].split("-")[0] for row in cells(table)] == ["conv"] * 2 + ["lung"] * 3


def test_misclassifications_are_sorted_by_frequency(tmp_path: Path) -> None:
    def with_confusion(run: RunResult) -> RunResult:
        assert run.metrics
        confusion = [[20, 1, 4], [0, 25, 0], [10, 0, 0]]
        test = dataclasses.replace(run.metrics.test, images=60, confusion=confusion)
        metrics = dataclasses.replace(run.metrics, test=test)
        return RunResult(run.name, run.model, run.status, metrics=metrics)

    (run, *_) = read_runs(three_class_sweep(tmp_path / "three"))
    *_, table = section([with_confusion(run)])
    assert cells(table) == [
        ["Viral Pneumonia", "Covid", "10", "100.0%"],
        ["Covid", "Viral Pneumonia", "4", "16.0%"],
        ["Covid", "Normal", "1", "4.0%"],
    ]


def test_run_without_misclassifications_is_reported(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    run = write_run(sweep, "lung", FakeRun(skill=50, classes=("a", "b", "c")))
    *_, text = section(read_runs(sweep))
    assert text == f"{run.name} classified every test image correctly."
