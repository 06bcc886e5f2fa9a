"""The comparison in the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.drawing import runs_of
from tests.report.synthetic import experiments, grid, three_classes
from tests.run_folders import run_metrics
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.terminal_table import comparison


@pytest.mark.parametrize("width", [100, 80, 60])
def test_no_line_is_wider_than_asked(tmp_path: Path, width: int) -> None:
    runs = runs_of(grid(tmp_path / "grid", seeds=2, complete=False))
    runs.append(RunResult("ft-0", "ft", "failed", error="ValueError: " + "long " * 50))
    lines = comparison(runs, width).splitlines()
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [110, 90, 72])
def test_no_line_of_several_data_sets_is_wider_than_asked(tmp_path: Path, width: int) -> None:
    lungs = ("Covid confirmed by a test", "Normal", "Pneumonia that is no Covid, viral or not")
    runs = runs_of(experiments(tmp_path / "experiments", lungs))
    assert max(map(len, comparison(runs, width).splitlines())) <= width


def test_data_sets_are_ranked_apart(tmp_path: Path) -> None:
    lines = comparison(runs_of(experiments(tmp_path / "experiments")), 110).splitlines()
    two = lines.index("demo, 2 classes: NORMAL, PNEUMONIA")
    three = lines.index("demo, 3 classes: Covid, Normal, Viral Pneumonia")
    assert [line.split("-")[0] for line in lines[two + 1 : two + 5]] == [
        *("conv", "vgg", "tl", "stacked"),
    ]
    lung = lines[three + 1].split()
    assert lung[:2] == [lung[0], "lung"]
    assert lung[-9:-5] == ["-"] * 4  # sensitivity, specificity and misses are of two classes
    assert "AUC and F1 of more than two classes are means over the classes" in lines[-2]
    assert "do not all validate on the same images" in lines[-1]


def test_more_than_two_classes_have_an_f1_in_place_of_what_only_two_have(tmp_path: Path) -> None:
    heads = comparison(runs_of(three_classes(tmp_path / "three"))).splitlines()[4]
    assert heads.split()[3:] == ["AUC", "acc", "AUC", "acc", "F1", "kept", "epoch", "time"]


def test_two_classes_have_no_f1(tmp_path: Path) -> None:
    heads = comparison(runs_of(grid(tmp_path / "grid"))).splitlines()[4]
    assert heads.split()[3:9] == ["AUC", "acc", "AUC", "acc", "sens", "spec"]


def test_many_data_sets_share_the_rows() -> None:
    def finished(i: int) -> RunResult:
        config = {"inputs.data": str(i % 10), "data.source": "demo"}
        metrics = run_metrics({"auc": i / 100})
        return RunResult(f"ft-{i:03}", "ft", "finished", config=config, metrics=metrics)

    lines = comparison([finished(i) for i in range(60)]).splitlines()
    assert sum(line.startswith("ft-") for line in lines) == 40
    assert lines.count("... and 2 more runs in runs.csv") == 10


def test_columns_that_do_not_fit_are_named(tmp_path: Path) -> None:
    runs = runs_of(grid(tmp_path / "grid"))
    assert "also in runs.csv" not in comparison(runs, 100)
    assert "(also in runs.csv: kept epoch, time, spec, sens)" in comparison(runs, 70)


def test_long_tables_are_cut_and_say_so() -> None:
    def finished(i: int) -> RunResult:
        metrics = run_metrics({"auc": i / 100})
        return RunResult(f"ft-{i:03}", "ft", "finished", metrics=metrics)

    missing = [
        RunResult(f"tl-{i:03}", "tl", "missing", error="there is no folder") for i in range(41)
    ]
    text = comparison([*(finished(i) for i in range(95)), *missing])
    assert "ft-055" in text
    assert "ft-054" not in text
    assert "... and 55 more runs in runs.csv" in text
    assert text.endswith("... and 1 more run in runs.csv")


def test_without_a_finished_run_there_is_only_the_list() -> None:
    assert comparison([RunResult("ft-1", "ft", "missing", error="there is no folder")]) == (
        "1 run: 1 missing\n\nmissing  ft-1  there is no folder"
    )


def test_what_all_runs_used_stands_under_how_they_stand(tmp_path: Path) -> None:
    lines = comparison(runs_of(three_classes(tmp_path / "three"))).splitlines()
    assert lines[:2] == [
        "12 runs: 12 finished",
        "0.333 GPU-hours, 12 min of waiting, 4G of memory at most",
    ]


def test_the_group_stands_over_its_columns() -> None:
    metrics = run_metrics({"auc": 0.5}, {"auc": 0.25})
    run = RunResult("ft-1", "ft", "finished", metrics=metrics)
    _, _, groups, heads, row = comparison([run]).splitlines()
    assert heads.index("AUC") == groups.index("validation")
    assert heads.index("AUC", heads.index("AUC") + 1) == groups.index("test")
    assert row.split()[:5] == ["ft-1", "0.500", "0.500", "0.250", "0.500"]
