"""Tests of the comparison in the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.fake_sweeps import experiment_sweep, grid_sweep, read_runs, three_class_sweep
from tests.run_folders import run_metrics
from xray_hpc.records.run_flags import Flag
from xray_hpc.report.comparison_table import MACRO_NOTE, SPLIT_NOTE, comparison_table
from xray_hpc.report.formatting import flag_notes
from xray_hpc.report.run_result import RunResult


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
        *("conv", "vgg", "tl", "stacked")
    ]
    lung = lines[multiclass + 1].split()
    assert lung[1] == "lung"
    assert lung[-9:-5] == ["-"] * 4  # sensitivity, specificity, FN and FP need two classes
    assert lines[-2:] == [MACRO_NOTE, SPLIT_NOTE]


def test_notes_name_the_flagged_runs() -> None:
    def finished(name: str, *flags: Flag) -> RunResult:
        config = {"inputs.data": "0", "data.source": "demo"}
        metrics = run_metrics(flags=list(flags))
        return RunResult(name, "ft", "finished", config=config, metrics=metrics)

    runs = [finished("ft-0"), finished("ft-1", Flag.AT_CHANCE, Flag.TIED)]
    runs += [finished(f"ft-{i}", Flag.CONSTANT) for i in range(2, 10)]
    constant, at_chance, tied = flag_notes(runs)
    assert constant.endswith(": ft-2, ft-3, ft-4, ft-5, ft-6 and 3 more")
    assert at_chance.endswith(": ft-1")
    assert tied.endswith(": ft-1")
    lines = comparison_table(runs, 70).splitlines()
    assert lines[0] == "10 runs: 10 finished (9 flagged)"
    assert max(map(len, lines)) <= 70
    assert " ".join([constant, at_chance, tied]) in " ".join(lines)
    assert flag_notes(runs[:1]) == []
    assert comparison_table(runs[:1]).startswith("1 run: 1 finished\n")


def test_multiclass_runs_have_f1_instead_of_binary_metrics(tmp_path: Path) -> None:
    heads = comparison_table(read_runs(three_class_sweep(tmp_path / "three"))).splitlines()[4]
    assert heads.split()[3:] == ["AUC", "acc", "AUC", "acc", "F1", "best", "epoch", "time"]


def test_binary_runs_have_sensitivity_and_specificity(tmp_path: Path) -> None:
    heads = comparison_table(read_runs(grid_sweep(tmp_path / "grid"))).splitlines()[4]
    assert heads.split()[3:9] == ["AUC", "acc", "AUC", "acc", "sens", "spec"]


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
    assert "see runs.csv" not in comparison_table(runs, 100)
    assert "(see runs.csv for: best epoch, time, spec, sens)" in comparison_table(runs, 70)


def test_long_tables_are_truncated_with_a_note() -> None:
    def finished(i: int) -> RunResult:
        metrics = run_metrics({"auc": i / 100})
        return RunResult(f"ft-{i:03}", "ft", "finished", metrics=metrics)

    missing = [
        RunResult(f"tl-{i:03}", "tl", "missing", error="folder is missing") for i in range(41)
    ]
    text = comparison_table([*(finished(i) for i in range(95)), *missing])
    assert "ft-055" in text
    assert "ft-054" not in text
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
    _, _, groups, heads, row = comparison_table([run]).splitlines()
    assert heads.index("AUC") == groups.index("validation")
    assert heads.index("AUC", heads.index("AUC") + 1) == groups.index("test")
    assert row.split()[:5] == ["ft-1", "0.500", "0.500", "0.250", "0.500"]
