"""The map of learning rate and unfreeze depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.report.drawing import runs_of, titles
from tests.report.synthetic import Drawn, grid, write_run
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report.figure_style import look
from xray_hpc.report.heatmap_figure import lr_unfreeze_map
from xray_hpc.report.lr_unfreeze_grid import grid as grid_of
from xray_hpc.report.run_result import RunResult


def draw_map(runs: list[RunResult]) -> Figure | None:
    with look():
        return lr_unfreeze_map(grid_of(runs))


def cells(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_the_map_has_a_number_in_every_cell(tmp_path: Path) -> None:
    runs = runs_of(grid(tmp_path))
    figure = draw_map(runs)
    assert figure is not None

    def place(run: RunResult) -> tuple[Any, Any]:
        return run.config["model.unfreeze"], run.config["train.learning_rate"]

    expected = [f"{run.measure('validation', 'auc'):.3f}" for run in sorted(runs, key=place)]
    assert cells(figure) == expected
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1e-06", "1e-05", "0.0001", "0.001"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["2", "13", "24"]


def test_a_cell_without_a_finished_run_is_a_dash(tmp_path: Path) -> None:
    figure = draw_map(runs_of(grid(tmp_path, complete=False)))
    assert figure is not None
    assert [i for i, text in enumerate(cells(figure)) if text == "—"] == [3, 8]


def test_seeds_share_a_cell_which_shows_their_mean(tmp_path: Path) -> None:
    runs = runs_of(grid(tmp_path, seeds=2))
    figure = draw_map(runs)
    assert figure is not None
    first = [
        run.measure("validation", "auc")
        for run in runs
        if (run.config["model.unfreeze"], run.config["train.learning_rate"]) == (2, 1e-6)
    ]
    assert cells(figure)[0] == f"{np.mean(first):.3f}\nn = 2"


def test_what_else_varies_gets_its_own_map(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    for batch in (16, 32):
        for depth in (2, 4):
            for rate in (1e-4, 1e-3):
                write_run(
                    sweep,
                    "ft",
                    Drawn(skill=batch / 16),
                    train__batch_size=batch,
                    train__learning_rate=rate,
                    model__unfreeze=depth,
                )
    figure = draw_map(runs_of(sweep))
    assert figure is not None
    assert titles(figure) == ["ft, batch_size 32", "ft, batch_size 16"]


@pytest.mark.parametrize("key", ["train__learning_rate", "model__unfreeze"])
def test_there_is_no_map_of_one_axis(tmp_path: Path, key: str) -> None:
    sweep = SweepPaths(tmp_path)
    for value in (1, 2, 3):
        write_run(sweep, "ft", **{key: value})
    assert draw_map(runs_of(sweep)) is None


def test_a_rate_that_is_no_number_has_no_cell(tmp_path: Path) -> None:
    sweep = grid(tmp_path)
    write_run(sweep, "ft", train__learning_rate="1e-6", seed=7)
    figure = draw_map(runs_of(sweep))
    assert figure is not None
    assert len(cells(figure)) == 12
