"""Draw a heatmap of validation AUC over learning rate and unfreeze depth."""

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
from xray_hpc.report.swept_keys import format_value

CELL_SIZE = 0.62  # inches
COLORS = "cividis"


def lr_unfreeze_heatmap(grid: Grid | None) -> Figure | None:
    """Draw the validation AUC over the grid; return ``None`` without a grid.

    A cell shows the mean over its runs, and their number if there are several. Cells without a
    finished run are hatched; the best cell of a panel is bold.
    """
    if grid is None:
        return None
    aucs = [cell.auc for panel in grid.panels for cell in panel.cells]
    margin = max((max(aucs) - min(aucs)) * 0.02, 1e-4)
    scale = Normalize(min(aucs) - margin, max(aucs) + margin)
    columns = min(len(grid.panels), max(1, 12 // (len(grid.rates) + 1)))
    rows = math.ceil(len(grid.panels) / columns)
    width = columns * (CELL_SIZE * 1.25 * len(grid.rates) + 0.8) + 1.0
    height = rows * (CELL_SIZE * len(grid.depths) + 0.9) + 0.3
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, panel in zip(axes, grid.panels, strict=False):
        _draw(ax, panel, grid, scale)
        ax.set_title(escape_dollars(panel.title))
    for ax in axes[len(grid.panels) :]:
        ax.set_axis_off()
    colors = matplotlib.cm.ScalarMappable(scale, COLORS)
    bar = figure.colorbar(colors, ax=list(axes), label="Validation AUC", shrink=0.9, aspect=18)
    bar.outline.set_visible(False)
    return figure


def _draw(ax: Axes, panel: Panel, grid: Grid, scale: Normalize) -> None:
    cells = {(cell.depth, cell.rate): cell for cell in panel.cells}
    means = np.full((len(grid.depths), len(grid.rates)), np.nan)
    for y, depth in enumerate(grid.depths):
        for x, rate in enumerate(grid.rates):
            cell = cells.get((depth, rate))
            if cell is None:
                empty = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="white", edgecolor="#C8C8C8")
                empty.set_hatch("////")
                ax.add_patch(empty)
                _write(ax, x, y, "—", backgroundcolor="white")
                continue
            means[y, x] = cell.auc
            number = f"\nn = {cell.runs}" if cell.runs > 1 else ""
            ink = "white" if scale(cell.auc) < 0.55 else "black"
            bold = "bold" if cell == panel.best else "normal"
            _write(ax, x, y, f"{cell.auc:.3f}{number}", color=ink, weight=bold)
    ax.set_xticks(range(len(grid.rates)), [format_value(rate) for rate in grid.rates])
    ax.set_yticks(range(len(grid.depths)), [format_value(depth) for depth in grid.depths])
    ax.set(xlabel="Learning rate", ylabel="Unfrozen layers")
    ax.grid(visible=False)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    edges = (np.arange(len(values) + 1) - 0.5 for values in (grid.rates, grid.depths))
    masked = np.ma.masked_invalid(means)
    mesh = ax.pcolormesh(*edges, masked, cmap=COLORS, norm=scale, edgecolors="white", linewidth=1)
    mesh.set_zorder(0.5)
    ax.set(xlim=(-0.5, len(grid.rates) - 0.5), ylim=(-0.5, len(grid.depths) - 0.5))


def _write(ax: Axes, x: int, y: int, text: str, **style: Any) -> None:
    label = ax.text(x, y, text, ha="center", va="center", **style)
    label.set_in_layout(False)  # within its cell; the layout engine need not measure it
