"""The map of learning rate and unfreeze depth: where on the grid the best runs lie."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import cast

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from xray_hpc.report.axes import (
    LEARNING_RATE,
    SEED,
    UNFREEZE,
    compared_keys,
    short,
    show_value,
    value,
)
from xray_hpc.report.checking import is_number
from xray_hpc.report.run import Run
from xray_hpc.runs.figures import plain

MAPS = 12  # so many panels at most: those with the best cells
CELL = 0.62  # inches

Cell = tuple[int, float]  # unfreeze depth, learning rate


def lr_unfreeze_map(runs: Sequence[Run]) -> Figure | None:
    """Draw the validation AUC over the grid of learning rates and unfreeze depths.

    Runs that differ only in their seed share a cell, which shows their mean and, from two runs
    on, how many they are. What else varies (the model, the batch size) gets a panel for each
    combination. A cell without a finished run is hatched. ``None`` unless both were swept and a
    run has finished.
    """
    placed = [run for run in runs if _cell(run) is not None]
    rates = sorted({cell[1] for run in placed if (cell := _cell(run))})
    depths = sorted({cell[0] for run in placed if (cell := _cell(run))})
    panels = _panels(placed)
    if len(rates) < 2 or len(depths) < 2 or not panels:
        return None
    values = [np.mean(aucs) for panel in panels.values() for aucs in panel.values()]
    low, high = float(min(values)), float(max(values))
    margin = max((high - low) * 0.02, 1e-4)
    scale = Normalize(low - margin, high + margin)
    columns = min(len(panels), max(1, 12 // (len(rates) + 1)))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(
        figsize=(
            columns * (CELL * 1.25 * len(rates) + 0.8) + 1.0,
            rows * (CELL * len(depths) + 0.9) + 0.3,
        )
    )
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (title, cells) in zip(grid, panels.items(), strict=False):
        _draw(ax, cells, rates, depths, scale)
        ax.set_title(plain(title))
    for ax in grid[len(panels) :]:
        ax.set_axis_off()
    colors = matplotlib.cm.ScalarMappable(scale, "cividis")
    bar = figure.colorbar(colors, ax=list(grid), label="Validation AUC", shrink=0.9, aspect=18)
    bar.outline.set_visible(False)
    return figure


def _cell(run: Run) -> Cell | None:
    depth, rate = run.config.get(UNFREEZE), run.config.get(LEARNING_RATE)
    if not is_number(depth) or not is_number(rate):  # a config may be any YAML
        return None
    return cast(Cell, (depth, rate))


def _panels(runs: Sequence[Run]) -> dict[str, dict[Cell, list[float]]]:
    """AUCs a cell, for each combination of what else was swept; best panel first."""
    others = [key for key in compared_keys(runs) if key not in (LEARNING_RATE, UNFREEZE, SEED)]
    panels: dict[str, dict[Cell, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        auc, cell = run.measure("validation", "auc"), _cell(run)
        if run.finished and auc is not None and cell is not None:
            said = [f"{short(key)} {show_value(value(run, key))}" for key in others]
            panels[", ".join([run.model, *said])][cell].append(auc)
    best = sorted(panels, key=lambda title: (-max(map(np.mean, panels[title].values())), title))
    return {title: panels[title] for title in best[:MAPS]}


def _draw(
    ax: Axes,
    cells: dict[Cell, list[float]],
    rates: Sequence[float],
    depths: Sequence[int],
    scale: Normalize,
) -> None:
    colors = matplotlib.colormaps["cividis"]
    best = max(cells, key=lambda cell: (np.mean(cells[cell]), -cell[0], -cell[1]))
    for y, depth in enumerate(depths):
        for x, rate in enumerate(rates):
            aucs = cells.get((depth, rate))
            corner = (x - 0.5, y - 0.5)
            if not aucs:
                ax.add_patch(
                    Rectangle(corner, 1, 1, facecolor="white", edgecolor="#C8C8C8", hatch="////")
                )
                ax.text(x, y, "—", ha="center", va="center", backgroundcolor="white")
                continue
            mean = float(np.mean(aucs))
            shade = scale(mean)
            ax.add_patch(Rectangle(corner, 1, 1, facecolor=colors(shade), edgecolor="white"))
            text = f"{mean:.3f}" + (f"\nn = {len(aucs)}" if len(aucs) > 1 else "")
            ink = "white" if shade < 0.55 else "black"
            bold = "bold" if (depth, rate) == best else "normal"
            ax.text(x, y, text, ha="center", va="center", color=ink, weight=bold)
    ax.set(xlim=(-0.5, len(rates) - 0.5), ylim=(-0.5, len(depths) - 0.5))
    ax.set_xticks(range(len(rates)), [show_value(rate) for rate in rates])
    ax.set_yticks(range(len(depths)), [show_value(depth) for depth in depths])
    ax.set(xlabel="Learning rate", ylabel="Unfrozen layers")
    ax.grid(visible=False)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
