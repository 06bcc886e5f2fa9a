"""Tests of which figures are drawn, with which runs, and when they are redrawn."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.report.figure_helpers import many_runs, read_runs
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report import report_figures
from xray_hpc.report.figure_style import MAX_OTHER_RUNS, other_runs_label
from xray_hpc.report.report_figures import (
    INDEX,
    DrawTask,
    FigureSpec,
    draw_figures,
    figure_pool,
    figure_specs,
    sample_other_runs,
)
from xray_hpc.report.run_result import RunResult


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The figures drawn during the test, which are text files instead of images."""
    found: list[str] = []

    def recording(task: DrawTask) -> bool:
        found.append(task.figure.file)
        has_content = task.figure.file != "learning_rate_unfreeze.png"
        if has_content:
            task.path.write_text("a figure")
        return has_content

    monkeypatch.setattr(report_figures, "draw_figure", recording)
    return found


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "report"
    folder.mkdir()
    return folder


def draw_all(folder: Path, specs: Sequence[FigureSpec], *, many_runs: bool = False) -> list[str]:
    with figure_pool() as pool:
        return list(draw_figures(folder, specs, pool, many_runs=many_runs))


CURVES = ["accuracy.png", "loss.png", "auc.png"]
ALL = ["roc_validation.png", "roc_test.png", "confusion_test.png", *CURVES]


def test_unchanged_figures_are_not_redrawn(
    sweep: SweepPaths, report: Path, drawn: list[str]
) -> None:
    assert draw_all(report, figure_specs(read_runs(sweep))) == ALL
    assert drawn == [*ALL, "learning_rate_unfreeze.png"]
    drawn.clear()
    assert draw_all(report, figure_specs(read_runs(sweep))) == ALL
    assert drawn == []


def test_figure_that_failed_is_left_out_and_tried_again(
    sweep: SweepPaths, report: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[str]
) -> None:
    specs = figure_specs(read_runs(sweep))
    draw_all(report, specs)
    works = report_figures.draw_figure
    specs = [dataclasses.replace(spec, arguments={**spec.arguments, "new": 1}) for spec in specs]
    with monkeypatch.context() as patch:
        patch.setattr(
            report_figures,
            "draw_figure",
            lambda task: None if task.figure.file == "loss.png" else works(task),
        )
        assert draw_all(report, specs) == [file for file in ALL if file != "loss.png"]
    drawn.clear()
    assert draw_all(report, specs) == ALL
    assert drawn == ["loss.png"]


def test_changed_figures_are_redrawn(sweep: SweepPaths, report: Path, drawn: list[str]) -> None:
    draw_all(report, figure_specs(read_runs(sweep)))
    drawn.clear()
    runs = read_runs(sweep)
    assert runs[0].epochs is not None
    runs[0].epochs["val_loss"][0] += 0.01
    draw_all(report, figure_specs(runs))
    assert drawn == ALL


def test_run_outside_the_sample_changes_no_figure() -> None:
    runs = [RunResult(f"ft-{i}", "ft", "finished") for i in range(MAX_OTHER_RUNS + 50)]
    digests = {
        count: [figure.digest() for figure in figure_specs(runs[:count])[:-1]]
        for count in range(MAX_OTHER_RUNS + 9, MAX_OTHER_RUNS + 50)
    }
    assert 1 < len(set(map(tuple, digests.values()))) < 41


def test_modified_or_removed_figures_are_redrawn(
    sweep: SweepPaths, report: Path, drawn: list[str]
) -> None:
    draw_all(report, figure_specs(read_runs(sweep)))
    drawn.clear()
    (report / "loss.png").write_text("another one")
    (report / "auc.png").unlink()
    draw_all(report, figure_specs(read_runs(sweep)))
    assert drawn == ["loss.png", "auc.png"]
    (report / INDEX).write_text("[]")
    drawn.clear()
    draw_all(report, figure_specs(read_runs(sweep)))
    assert len(drawn) == 7


def test_figure_without_content_is_removed(
    sweep: SweepPaths, report: Path, drawn: list[str]
) -> None:
    (report / "learning_rate_unfreeze.png").write_text("an old one")
    draw_all(report, figure_specs(read_runs(sweep)))
    assert not (report / "learning_rate_unfreeze.png").exists()


def test_figures_drawn_in_processes_have_equal_bytes(
    sweep: SweepPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xray_hpc.report.process_pool.available_cpus", lambda: 2)
    monkeypatch.setattr(report_figures, "MIN_FIGURES_FOR_PROCESSES", 2)
    specs = figure_specs(read_runs(sweep))[1:3]
    drawn = []
    for parallel in (False, True):
        folder = tmp_path / str(parallel)
        folder.mkdir()
        files = draw_all(folder, specs, many_runs=parallel)
        drawn.append({file: (folder / file).read_bytes() for file in files})
    assert drawn[0] == drawn[1]
    assert list(drawn[0]) == ["roc_test.png", "confusion_test.png"]


def test_sample_includes_colored_runs_and_limits_the_others() -> None:
    runs = [RunResult(f"ft-{i}", "ft", "finished") for i in range(MAX_OTHER_RUNS + 100)]
    colors = {"ft-0": "red", "ft-299": "blue"}
    sample = sample_other_runs(runs, colors)
    assert len(sample) == MAX_OTHER_RUNS + 2
    assert [run for run in runs if run in sample] == sample
    assert {run.name for run in sample} >= set(colors)
    assert sample_other_runs(runs[:MAX_OTHER_RUNS], colors) == runs[:MAX_OTHER_RUNS]
    assert other_runs_label(MAX_OTHER_RUNS) == "200 of the other runs"


def test_additional_run_replaces_at_most_one_sampled_run() -> None:
    runs = [RunResult(f"ft-{i}", "ft", "finished") for i in range(MAX_OTHER_RUNS + 50)]
    changes = [
        len(
            {run.name for run in sample_other_runs(runs[: i + 1], {})}
            - {run.name for run in sample_other_runs(runs[:i], {})}
        )
        for i in range(MAX_OTHER_RUNS, MAX_OTHER_RUNS + 49)
    ]
    assert set(changes) == {0, 1}


def test_unchanged_report_does_not_import_matplotlib(tmp_path: Path) -> None:
    many_runs(tmp_path / "sweep", seeds=2)
    code = (
        "import sys; from pathlib import Path\n"
        "from xray_hpc.records.paths import SweepPaths\n"
        "from xray_hpc.report.collect_sweep import collect_sweep\n"
        "collect_sweep(SweepPaths(Path(sys.argv[1])))\n"
        "print(*(name for name in ('matplotlib', 'sklearn') if name in sys.modules))"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code, tmp_path / "sweep"],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert outputs[1] == "\n"
