"""Tests of the comparison in the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.fake_sweeps import experiment_sweep, grid_sweep, read_runs, three_class_sweep
from tests.report.test_compare import grid
from tests.run_folders import run_metrics
from xray_hpc.report import comparison_table as module
from xray_hpc.report.compare import compare_runs
from xray_hpc.report.comparison_table import MACRO_NOTE
from xray_hpc.report.run_result import RunResult


def comparison_table(runs: list[RunResult], width: int = 100, rule: str = "val_loss") -> str:
    return module.comparison_table(runs, compare_runs(runs, rule), width)


@pytest.mark.parametrize("width", [100, 80, 60])
def test_table_fits_the_given_width(tmp_path: Path, width: int) -> None:
    runs = read_runs(grid_sweep(tmp_path / "grid", seeds=2, complete=False))
    runs.append(RunResult("ft-0", "ft", "failed", error="ValueError: " + "long " * 50))
    lines = comparison_table(runs, width).splitlines()
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [110, 90, 72])
def test_table_of_several_data_sets_fits_the_given_width(tmp_path: Path, width: int) -> None:
    classes = ("Covid confirmed by a test", "Normal", "Pneumonia other than Covid, viral or not")
    runs = read_runs(experiment_sweep(tmp_path / "experiments", classes))
    assert max(map(len, comparison_table(runs, width).splitlines())) <= width


def test_each_data_set_has_its_own_ranking(tmp_path: Path) -> None:
    lines = comparison_table(
        read_runs(experiment_sweep(tmp_path / "experiments")), 110
    ).splitlines()
    binary = lines.index("demo, 2 classes: NORMAL, PNEUMONIA")
    multiclass = lines.index("demo, 3 classes: Covid, Normal, Viral Pneumonia")
    assert [line.split("-")[0] for line in lines[binary + 1 : binary + 5]] == [
        *("conv", "vgg", "stacked", "tl")
    ]
    lung = lines[multiclass + 1].split()
    assert lung[1] == "lung"
    assert lung.count("-") >= 2  # sensitivity and specificity need two classes
    assert MACRO_NOTE in lines


def test_runs_are_in_the_order_of_the_rule_with_intervals_and_the_answer() -> None:
    runs = grid([1.0, 3.0, 1.2])
    comparison = compare_runs(runs)
    text = module.comparison_table(runs, comparison, 100)
    rows = [line for line in text.splitlines() if line.startswith("ft-")]
    assert [row.split()[0] for row in rows] == list(comparison.ranking["run"])
    best = comparison.ranking.iloc[0]
    assert "{test_auc:.3f} ({test_auc_low:.3f}-{test_auc_high:.3f})".format_map(best) in rows[0]
    assert "*" not in "".join(rows)
    assert comparison.winners[0].answer in " ".join(text.split())


def test_runs_that_cannot_be_told_apart_are_marked() -> None:
    text = comparison_table(grid([2.0, 2.0]))
    rows = [line for line in text.splitlines() if line.startswith("ft-")]
    assert ["*" in row for row in rows] == [False, True]
    assert text.count("Warning: ") > 0


def test_multiclass_runs_have_f1_instead_of_binary_metrics(tmp_path: Path) -> None:
    heads = comparison_table(read_runs(three_class_sweep(tmp_path / "three"))).splitlines()[4]
    assert heads.split()[3:] == ["loss", "AUC", "AUC", "acc", "F1", "best", "epoch", "time"]


def test_binary_runs_have_sensitivity_and_specificity(tmp_path: Path) -> None:
    heads = comparison_table(read_runs(grid_sweep(tmp_path / "grid"))).splitlines()[4]
    assert heads.split()[3:9] == ["loss", "AUC", "AUC", "acc", "sens", "spec"]


def test_row_limit_is_divided_among_data_sets() -> None:
    def finished(i: int) -> RunResult:
        config = {"inputs.data": str(i % 10), "data.source": "demo"}
        metrics = run_metrics({"auc": i / 100})
        return RunResult(f"ft-{i:03}", "ft", "finished", config=config, metrics=metrics)

    lines = comparison_table([finished(i) for i in range(60)]).splitlines()
    assert sum(line.startswith("ft-") for line in lines) == 40
    assert lines.count("... and 2 more runs in runs.csv") == 10


def test_dropped_columns_are_listed(tmp_path: Path) -> None:
    runs = read_runs(grid_sweep(tmp_path / "grid"))
    assert "see runs.csv" not in comparison_table(runs, 140)
    assert "(see runs.csv for: best epoch, time" in comparison_table(runs, 90)


def test_long_tables_are_truncated_with_a_note() -> None:
    def finished(i: int) -> RunResult:
        metrics = run_metrics({"auc": i / 100})
        return RunResult(f"ft-{i:03}", "ft", "finished", metrics=metrics)

    missing = [
        RunResult(f"tl-{i:03}", "tl", "missing", error="folder is missing") for i in range(41)
    ]
    text = comparison_table([*(finished(i) for i in range(95)), *missing])
    assert "ft-039" in text
    assert "ft-040" not in text
    assert "... and 55 more runs in runs.csv" in text
    assert text.endswith("... and 1 more run in runs.csv")


def test_unfinished_runs_alone_are_listed() -> None:
    assert comparison_table([RunResult("ft-1", "ft", "missing", error="folder is missing")]) == (
        "1 run: 1 missing\n\nmissing  ft-1  folder is missing"
    )


def test_table_starts_with_status_and_total_usage(tmp_path: Path) -> None:
    lines = comparison_table(read_runs(three_class_sweep(tmp_path / "three"))).splitlines()
    assert lines[:2] == ["12 runs: 12 finished", "0.333 GPU-hours, 12 min queued, 4G peak memory"]


def test_group_heads_are_aligned_with_their_columns() -> None:
    metrics = run_metrics({"auc": 0.5}, {"auc": 0.25})
    run = RunResult("ft-1", "ft", "finished", metrics=metrics)
    _, _, groups, heads, row, *_ = comparison_table([run]).splitlines()
    assert heads.index("loss") == groups.index("validation")
    assert heads.index("AUC", heads.index("AUC") + 1) == groups.index("test")
    assert row.split()[:5] == ["ft-1", "-", "0.500", "0.250", "0.500"]
