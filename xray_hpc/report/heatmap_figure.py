"""The map of learning rate and unfreeze depth: where on the grid the best runs lie."""

from __future__ import annotations

import math
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from xray_hpc.figure_files import escape_dollars
from xray_hpc.report.lr_unfreeze_grid import Grid, Panel
from xray_hpc.report.swept_keys import show_value

SIDE = 0.62  # inches, of a cell
COLORS = "cividis"


def lr_unfreeze_map(grid: Grid | None) -> Figure | None:
    """Draw the validation AUC over the grid of learning rates and unfreeze depths.

    A cell shows the mean of its runs and, from two on, how many they are; one without a finished
    run is hatched. The best cell of a panel is bold.
    """
    if grid is None:
        return None
    aucs = [cell.auc for panel in grid.panels for cell in panel.cells]
    margin = max((max(aucs) - min(aucs)) * 0.02, 1e-4)
    scale = Normalize(min(aucs) - margin, max(aucs) + margin)
    columns = min(len(grid.panels), max(1, 12 // (len(grid.rates) + 1)))
    rows = math.ceil(len(grid.panels) / columns)
    figure = Figure(
        figsize=(
            columns * (SIDE * 1.25 * len(grid.rates) + 0.8) + 1.0,
            rows * (SIDE * len(grid.depths) + 0.9) + 0.3,
        )
    )
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, panel in zip(places, grid.panels, strict=False):
        _draw(ax, panel, grid, scale)
        ax.set_title(escape_dollars(panel.title))
    for ax in places[len(grid.panels) :]:
        ax.set_axis_off()
    colors = matplotlib.cm.ScalarMappable(scale, COLORS)
    bar = figure.colorbar(colors, ax=list(places), label="Validation AUC", shrink=0.9, aspect=18)
    bar.outline.set_visible(False)
    return figure


def _draw(ax: Axes, panel: Panel, grid: Grid, scale: Normalize) -> None:
    cells = {(cell.depth, cell.rate): cell for cell in panel.cells}
    means = np.full((len(grid.depths), len(grid.rates)), np.nan)
    for y, depth in enumerate(grid.depths):
        for x, rate in enumerate(grid.rates):
            cell = cells.get((depth, rate))
            if cell is None:
                absent = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="white", edgecolor="#C8C8C8")
                absent.set_hatch("////")
                ax.add_patch(absent)
                _write(ax, x, y, "—", backgroundcolor="white")
                continue
            means[y, x] = cell.auc
            number = f"\nn = {cell.runs}" if cell.runs > 1 else ""
            ink = "white" if scale(cell.auc) < 0.55 else "black"
            bold = "bold" if cell == panel.best else "normal"
            _write(ax, x, y, f"{cell.auc:.3f}{number}", color=ink, weight=bold)
    ax.set_xticks(range(len(grid.rates)), [show_value(rate) for rate in grid.rates])
    ax.set_yticks(range(len(grid.depths)), [show_value(depth) for depth in grid.depths])
    ax.set(xlabel="Learning rate", ylabel="Unfrozen layers")
    ax.grid(visible=False)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    edges = (np.arange(len(side) + 1) - 0.5 for side in (grid.rates, grid.depths))
    known = np.ma.masked_invalid(means)
    mesh = ax.pcolormesh(*edges, known, cmap=COLORS, norm=scale, edgecolors="white", linewidth=1)
    mesh.set_zorder(0.5)
    ax.set(xlim=(-0.5, len(grid.rates) - 0.5), ylim=(-0.5, len(grid.depths) - 0.5))


def _write(ax: Axes, x: int, y: int, text: str, **how: Any) -> None:
    written = ax.text(x, y, text, ha="center", va="center", **how)
    written.set_in_layout(False)  # it is within its cell: not to be measured, a hundred times
