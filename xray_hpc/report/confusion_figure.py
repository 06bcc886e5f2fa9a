"""What the best runs took for what: confusion matrices side by side, as each run's own looks."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from xray_hpc.figure_files import escape_dollars
from xray_hpc.report.run_result import RunResult

COLORS = "Blues"
TICKS, UPRIGHT = 12, 16  # letters a line of a name, and of one that stands upright
MOST_WORDS = 12  # so many classes have room for numbers in their cells
MOST_SHARES = 6


def confusion_matrices(
    runs: Sequence[RunResult], split: str, labels: Mapping[str, str]
) -> Figure | None:
    """Draw the confusion matrix of each run on ``split``; ``None`` without runs.

    Rows are true classes, columns called ones; a cell holds its count and its share of the row,
    which is also its shade. Panels of the same classes share their names.
    """
    if not runs:
        return None
    columns = 2 if len(runs) in (2, 4) else min(len(runs), 3)
    rows = math.ceil(len(runs) / columns)
    most = max(len(run.classes) for run in runs)
    side = max(0.7 * most + 0.6 if most <= MOST_SHARES else 0.42 * most + 0.8, 2.2)
    figure = Figure(figsize=(columns * side + 1.9, rows * (side + 0.5) + 0.6))
    figure.set_layout_engine("compressed")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    alike = len({run.classes for run in runs}) == 1
    for i, (ax, run) in enumerate(zip(grid, runs, strict=False)):
        _draw(ax, np.array(run.measure(split, "confusion")))
        ax.set_title(escape_dollars(textwrap.fill(labels[run.name], int(12 * side))), size="medium")
        first, last = i % columns == 0, i + columns >= len(runs)
        _names(ax, run.classes, left=first or not alike, below=last or not alike)
        ax.set(ylabel="True" if first else "", xlabel="Predicted" if last else "")
    for ax in grid[len(runs) :]:
        ax.set_axis_off()
    shades = matplotlib.cm.ScalarMappable(Normalize(0, 1), COLORS)
    bar = figure.colorbar(
        shades,
        ax=list(grid),
        label="Share of the true class",
        format=PercentFormatter(1),
        aspect=30,
    )
    bar.outline.set_visible(False)
    return figure


def _draw(ax: Axes, counts: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> None:
    size = len(counts)
    images = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(images, 1)
    ax.imshow(shares, cmap=COLORS, vmin=0, vmax=1)
    for row, column in np.ndindex(size, size) if size <= MOST_WORDS else ():
        ink = "white" if shares[row, column] > 0.6 else "black"
        alone = size > MOST_SHARES or not images[row, 0]
        number, place = f"{counts[row, column]:,}", "center" if alone else "bottom"
        large = 8 if size > MOST_SHARES else 11
        ax.text(column, row, number, ha="center", va=place, color=ink, fontsize=large)
        if not alone:
            share = f"{shares[row, column]:.1%}"
            ax.text(column, row + 0.08, share, ha="center", va="top", color=ink, fontsize=7.5)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    between = np.arange(size - 1) + 0.5
    ax.set_xticks(between, minor=True)
    ax.set_yticks(between, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="minor", length=0)
    ax.spines[:].set_visible(False)


def _names(ax: Axes, classes: Sequence[str], *, left: bool, below: bool) -> None:
    upright = len(classes) > 4
    names = [escape_dollars(_cut(name) if upright else _wrapped(name)) for name in classes]
    ax.set_xticks(range(len(names)), names if below else [""] * len(names))
    ax.set_yticks(range(len(names)), names if left else [""] * len(names))
    if upright:
        ax.tick_params(axis="x", labelrotation=90)


def _wrapped(name: str) -> str:
    lines = textwrap.wrap(name, TICKS, break_long_words=False, max_lines=3, placeholder="…")
    return "\n".join(_cut(line, TICKS + 2) for line in lines)


def _cut(text: str, most: int = UPRIGHT) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
