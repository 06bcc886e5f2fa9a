"""The comparison in the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import grid

from xray_hpc.report.reading import Run, read_run
from xray_hpc.report.table import comparison
from xray_hpc.runs.paths import SweepPaths


def runs_of(sweep: SweepPaths) -> list[Run]:
    return [read_run(sweep.run(path.name)) for path in sorted(sweep.runs.iterdir())]


@pytest.mark.parametrize("width", [100, 80, 60])
def test_no_line_is_wider_than_asked(tmp_path: Path, width: int) -> None:
    runs = runs_of(grid(tmp_path / "grid", seeds=2, complete=False))
    runs.append(Run("ft-0", "ft", "failed", error="ValueError: " + "long " * 50))
    lines = comparison(runs, width).splitlines()
    assert max(map(len, lines)) <= width


def test_columns_that_do_not_fit_are_named(tmp_path: Path) -> None:
    runs = runs_of(grid(tmp_path / "grid"))
    assert "also in runs.csv" not in comparison(runs, 100)
    assert "(also in runs.csv: best epoch, time, spec, sens)" in comparison(runs, 70)


def test_long_tables_are_cut_and_say_so() -> None:
    def finished(i: int) -> Run:
        return Run(f"ft-{i:03}", "ft", "finished", metrics={"validation": {"auc": i / 100}})

    missing = [Run(f"tl-{i:03}", "tl", "missing", error="there is no folder") for i in range(41)]
    text = comparison([*(finished(i) for i in range(95)), *missing])
    assert "ft-055" in text
    assert "ft-054" not in text
    assert "... and 55 more runs in runs.csv" in text
    assert text.endswith("... and 1 more run in runs.csv")


def test_without_a_finished_run_there_is_only_the_list() -> None:
    assert comparison([Run("ft-1", "ft", "missing", error="there is no folder")]) == (
        "1 run: 1 missing\n\nmissing  ft-1  there is no folder"
    )


def test_the_group_stands_over_its_columns() -> None:
    run = Run("ft-1", "ft", "finished", metrics={"validation": {"auc": 0.5}, "test": {"auc": 0.25}})
    _, _, groups, heads, row = comparison([run]).splitlines()
    assert heads.index("AUC") == groups.index("validation")
    assert heads.index("AUC", heads.index("AUC") + 1) == groups.index("test")
    assert row.split()[:5] == ["ft-1", "0.500", "-", "0.250", "-"]
