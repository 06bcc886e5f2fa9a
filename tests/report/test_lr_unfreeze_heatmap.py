"""Tests of the heatmap of learning rate and unfreeze depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.report.fake_runs import FakeRun, write_run
from tests.report.fake_sweeps import grid_sweep
from tests.report.figure_helpers import panel_titles, read_runs
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report.figure_style import report_style
from xray_hpc.report.lr_unfreeze_grid import lr_unfreeze_grid
from xray_hpc.report.lr_unfreeze_heatmap import lr_unfreeze_heatmap
from xray_hpc.report.run_result import RunResult


def draw_heatmap(runs: list[RunResult]) -> Figure | None:
    with report_style():
        return lr_unfreeze_heatmap(lr_unfreeze_grid(runs))


def cells(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_every_cell_shows_its_auc(tmp_path: Path) -> None:
    runs = read_runs(grid_sweep(tmp_path))
    figure = draw_heatmap(runs)
    assert figure is not None

    def grid_point(run: RunResult) -> tuple[Any, Any]:
        return run.config["model.unfreeze"], run.config["train.learning_rate"]

    expected = [f"{run.metric('validation', 'auc'):.3f}" for run in sorted(runs, key=grid_point)]
    assert cells(figure) == expected
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1e-06", "1e-05", "0.0001", "0.001"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["2", "13", "24"]


def test_cell_without_a_finished_run_shows_a_dash(tmp_path: Path) -> None:
    figure = draw_heatmap(read_runs(grid_sweep(tmp_path, complete=False)))
    assert figure is not None
    assert [i for i, text in enumerate(cells(figure)) if text == "—"] == [3, 8]


def test_cell_shows_the_mean_over_seeds(tmp_path: Path) -> None:
    runs = read_runs(grid_sweep(tmp_path, seeds=2))
    figure = draw_heatmap(runs)
    assert figure is not None
    first = [
        run.metric("validation", "auc")
        for run in runs
        if (run.config["model.unfreeze"], run.config["train.learning_rate"]) == (2, 1e-6)
    ]
    assert cells(figure)[0] == f"{np.mean(first):.3f}\nn = 2"


def test_each_value_of_another_swept_key_has_a_panel(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    for batch in (16, 32):
        for depth in (2, 4):
            for rate in (1e-4, 1e-3):
                write_run(
                    sweep,
                    "ft",
                    FakeRun(skill=batch / 16),
                    train__batch_size=batch,
                    train__learning_rate=rate,
                    model__unfreeze=depth,
                )
    figure = draw_heatmap(read_runs(sweep))
    assert figure is not None
    assert panel_titles(figure) == ["ft, batch_size 32", "ft, batch_size 16"]


@pytest.mark.parametrize("key", ["train__learning_rate", "model__unfreeze"])
def test_single_swept_axis_has_no_heatmap(tmp_path: Path, key: str) -> None:
    sweep = SweepPaths(tmp_path)
    for value in (1, 2, 3):
        write_run(sweep, "ft", **{key: value})
    assert draw_heatmap(read_runs(sweep)) is None


def test_rate_that_is_not_a_number_is_ignored(tmp_path: Path) -> None:
    sweep = grid_sweep(tmp_path)
    write_run(sweep, "ft", train__learning_rate="1e-6", seed=7)
    figure = draw_heatmap(read_runs(sweep))
    assert figure is not None
    assert len(cells(figure)) == 12
