"""Tests of the grid of learning rates and unfreeze depths."""

from __future__ import annotations

from typing import Any

import pytest

from tests.run_folders import run_metrics
from xray_hpc.report.lr_unfreeze_grid import MAX_PANELS, Cell, Panel, lr_unfreeze_grid
from xray_hpc.report.run_result import RunResult


def run(depth: Any, rate: Any, auc: float | None = 0.9, **others: Any) -> RunResult:
    config = {"model.unfreeze": depth, "train.learning_rate": rate, **others}
    return RunResult(
        f"ft-{config}-{auc}",
        "ft",
        "finished",
        config=config,
        overrides={key: str(value) for key, value in config.items()},
        metrics=run_metrics({"auc": auc}),
    )


SQUARE = [run(2, 1e-5, 0.8), run(2, 1e-4, 0.7), run(13, 1e-5, 0.9), run(13, 1e-4, 0.6)]


def test_cell_is_the_mean_of_its_runs() -> None:
    grid = lr_unfreeze_grid([*SQUARE, run(2, 1e-5, 0.6)])
    assert grid is not None
    assert (grid.depths, grid.rates) == ([2, 13], [1e-5, 1e-4])
    (panel,) = grid.panels
    assert panel.title == "ft"
    cells = {(cell.depth, cell.rate): (cell.auc, cell.runs) for cell in panel.cells}
    assert cells[2, 1e-5] == (pytest.approx(0.7), 2)
    assert cells[13, 1e-4] == (0.6, 1)


def test_cell_without_a_metric_is_absent() -> None:
    grid = lr_unfreeze_grid([*SQUARE[:3], run(13, 1e-4, None)])
    assert grid is not None
    assert [(cell.depth, cell.rate) for cell in grid.panels[0].cells] == [
        *((2, 1e-5), (2, 1e-4), (13, 1e-5))
    ]


@pytest.mark.parametrize("runs", [SQUARE[:2], SQUARE[::2], [], [run("2", 1e-5), *SQUARE[:2]]])
def test_single_axis_has_no_grid(runs: list[RunResult]) -> None:
    assert lr_unfreeze_grid(runs) is None


def test_best_cell_breaks_ties_by_depth_then_rate() -> None:
    cells = [Cell(13, 1e-5, 0.9, 1), Cell(2, 1e-4, 0.9, 1), Cell(2, 1e-5, 0.9, 1)]
    assert Panel("ft", cells).best == cells[2]


def test_grid_keeps_the_best_panels_in_order() -> None:
    sizes = range(MAX_PANELS + 2)
    runs = [
        run(depth, rate, size / 100, **{"train.batch_size": size})
        for size in sizes
        for depth, rate in ((2, 1e-5), (13, 1e-4))
    ]
    grid = lr_unfreeze_grid(runs)
    assert grid is not None
    assert [panel.title for panel in grid.panels] == [
        f"ft, batch_size {size}" for size in reversed(sizes[2:])
    ]
