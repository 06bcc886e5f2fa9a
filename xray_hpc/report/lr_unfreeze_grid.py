"""Arrange runs on the grid of learning rates and unfreeze depths, with their validation AUC."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import (
    LEARNING_RATE,
    SEED,
    UNFREEZE,
    compared_keys,
    config_value,
    format_value,
    short_name,
)

MAX_PANELS = 12  # those with the best cells


@dataclass(frozen=True)
class Cell:
    """The mean validation AUC of ``runs`` finished runs at one depth and learning rate."""

    depth: int
    rate: float
    auc: float
    runs: int


@dataclass(frozen=True)
class Panel:
    """The cells of runs that are equal in everything else but their seeds."""

    title: str
    cells: Sequence[Cell]

    @property
    def best(self) -> Cell:
        """The cell with the largest AUC; ties go to the smallest depth, then the smallest rate."""
        return max(self.cells, key=lambda cell: (cell.auc, -cell.depth, -cell.rate))


@dataclass(frozen=True)
class Grid:
    """The swept ``depths`` and ``rates``, ascending, and the panels, best first."""

    depths: Sequence[int]
    rates: Sequence[float]
    panels: Sequence[Panel]


def lr_unfreeze_grid(runs: Sequence[RunResult]) -> Grid | None:
    """Return the grid, or ``None`` unless both axes were swept and a run has finished.

    Each combination of other swept values, such as model and batch size, has its own panel.
    """
    points = {run.name: point for run in runs if (point := _grid_point(run)) is not None}
    depths = sorted({depth for depth, _ in points.values()})
    rates = sorted({rate for _, rate in points.values()})
    panels = _panels([run for run in runs if run.name in points], points)
    return Grid(depths, rates, panels) if len(rates) > 1 and len(depths) > 1 and panels else None


def _grid_point(run: RunResult) -> tuple[int, float] | None:
    point = run.config.get(UNFREEZE), run.config.get(LEARNING_RATE)
    valid = all(map(_is_number, point))  # a config may be any YAML mapping
    return cast(tuple[int, float], point) if valid else None


def _is_number(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(cast(float, value))


def _panels(runs: Sequence[RunResult], points: dict[str, tuple[int, float]]) -> list[Panel]:
    others = [key for key in compared_keys(runs) if key not in (LEARNING_RATE, UNFREEZE, SEED)]
    found: dict[str, dict[tuple[int, float], list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        auc = run.metric("validation", "auc")
        if run.finished and auc is not None:
            values = [f"{short_name(key)} {format_value(config_value(run, key))}" for key in others]
            found[", ".join([run.model, *values])][points[run.name]].append(auc)
    panels = [
        Panel(title, [Cell(*point, statistics.fmean(a), len(a)) for point, a in cells.items()])
        for title, cells in found.items()
    ]
    return sorted(panels, key=lambda panel: (-panel.best.auc, panel.title))[:MAX_PANELS]
