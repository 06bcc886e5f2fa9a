"""Where the runs lie on the grid of learning rates and unfreeze depths, and how good they are."""

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
    short,
    show_value,
    value,
)

PANELS = 12  # at most: those with the best cells


@dataclass(frozen=True)
class Cell:
    """The mean validation AUC of ``runs`` finished runs with one depth and learning rate."""

    depth: int
    rate: float
    auc: float
    runs: int


@dataclass(frozen=True)
class Panel:
    """The cells of runs that are otherwise alike, but for their seeds."""

    title: str
    cells: Sequence[Cell]

    @property
    def best(self) -> Cell:
        """The cell with the largest AUC; of several the one with the least depth and rate."""
        return max(self.cells, key=lambda cell: (cell.auc, -cell.depth, -cell.rate))


@dataclass(frozen=True)
class Grid:
    """The ``depths`` and ``rates`` that were swept, in order; the best panel first."""

    depths: Sequence[int]
    rates: Sequence[float]
    panels: Sequence[Panel]


def grid(runs: Sequence[RunResult]) -> Grid | None:
    """The grid of these runs; ``None`` unless both were swept and a run has finished.

    What else varies (the model, the batch size) gets a panel for each combination.
    """
    placed = {run.name: place for run in runs if (place := _place(run)) is not None}
    depths = sorted({depth for depth, _ in placed.values()})
    rates = sorted({rate for _, rate in placed.values()})
    panels = _panels([run for run in runs if run.name in placed], placed)
    return Grid(depths, rates, panels) if len(rates) > 1 and len(depths) > 1 and panels else None


def _place(run: RunResult) -> tuple[int, float] | None:
    depth, rate = run.config.get(UNFREEZE), run.config.get(LEARNING_RATE)
    if not _is_number(depth) or not _is_number(rate):  # a config may be any YAML
        return None
    return cast(tuple[int, float], (depth, rate))


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(cast(float, value))


def _panels(runs: Sequence[RunResult], placed: dict[str, tuple[int, float]]) -> list[Panel]:
    others = [key for key in compared_keys(runs) if key not in (LEARNING_RATE, UNFREEZE, SEED)]
    found: dict[str, dict[tuple[int, float], list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        auc = run.measure("validation", "auc")
        if run.finished and auc is not None:
            said = [f"{short(key)} {show_value(value(run, key))}" for key in others]
            found[", ".join([run.model, *said])][placed[run.name]].append(auc)
    panels = [
        Panel(title, [Cell(*place, statistics.fmean(a), len(a)) for place, a in cells.items()])
        for title, cells in found.items()
    ]
    return sorted(panels, key=lambda panel: (-panel.best.auc, panel.title))[:PANELS]
