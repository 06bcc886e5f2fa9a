"""Draw the confusion matrices of several runs side by side."""

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
NAME_WIDTH, ROTATED_NAME_WIDTH = 12, 16  # characters per line of a class name
MAX_CLASSES_WITH_COUNTS = 12  # more classes leave no room for text in their cells
MAX_CLASSES_WITH_SHARES = 6


def confusion_matrices(
    runs: Sequence[RunResult], split: str, labels: Mapping[str, str]
) -> Figure | None:
    """Draw the confusion matrix of each run on ``split``; return ``None`` without runs.

    Rows are true classes, columns predicted classes. A cell shows its count and its share of the
    row, which also sets its shade. Panels with the same classes share the class names.
    """
    if not runs:
        return None
    columns = 2 if len(runs) in (2, 4) else min(len(runs), 3)
    rows = math.ceil(len(runs) / columns)
    classes = max(len(run.classes) for run in runs)
    large = classes <= MAX_CLASSES_WITH_SHARES
    side = max(0.7 * classes + 0.6 if large else 0.42 * classes + 0.8, 2.2)
    figure = Figure(figsize=(columns * side + 1.9, rows * (side + 0.5) + 0.6))
    figure.set_layout_engine("compressed")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    same_classes = len({run.classes for run in runs}) == 1
    for i, (ax, run) in enumerate(zip(grid, runs, strict=False)):
        _draw(ax, np.array(run.metric(split, "confusion")))
        ax.set_title(escape_dollars(textwrap.fill(labels[run.name], int(12 * side))), size="medium")
        leftmost, lowest = i % columns == 0, i + columns >= len(runs)
        left, below = leftmost or not same_classes, lowest or not same_classes
        _label_classes(ax, run.classes, left=left, below=below)
        ax.set(ylabel="True" if leftmost else "", xlabel="Predicted" if lowest else "")
    for ax in grid[len(runs) :]:
        ax.set_axis_off()
    scale = matplotlib.cm.ScalarMappable(Normalize(0, 1), COLORS)
    bar = figure.colorbar(scale, ax=list(grid), format=PercentFormatter(1), aspect=30)
    bar.set_label("Share of the true class")
    bar.outline.set_visible(False)
    return figure


def _draw(ax: Axes, counts: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> None:
    size = len(counts)
    images = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(images, 1)
    ax.imshow(shares, cmap=COLORS, vmin=0, vmax=1)
    for row, column in np.ndindex(size, size) if size <= MAX_CLASSES_WITH_COUNTS else ():
        ink = "white" if shares[row, column] > 0.6 else "black"
        with_share = size <= MAX_CLASSES_WITH_SHARES and images[row, 0]
        count, align = f"{counts[row, column]:,}", "bottom" if with_share else "center"
        fontsize = 8 if size > MAX_CLASSES_WITH_SHARES else 11
        ax.text(column, row, count, ha="center", va=align, color=ink, fontsize=fontsize)
        if with_share:
            share = f"{shares[row, column]:.1%}"
            ax.text(column, row + 0.08, share, ha="center", va="top", color=ink, fontsize=7.5)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    borders = np.arange(size - 1) + 0.5
    ax.set_xticks(borders, minor=True)
    ax.set_yticks(borders, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="minor", length=0)
    ax.spines[:].set_visible(False)


def _label_classes(ax: Axes, classes: Sequence[str], *, left: bool, below: bool) -> None:
    rotated = len(classes) > 4
    names = [escape_dollars(_truncate(name) if rotated else _wrapped(name)) for name in classes]
    ax.set_xticks(range(len(names)), names if below else [""] * len(names))
    ax.set_yticks(range(len(names)), names if left else [""] * len(names))
    if rotated:
        ax.tick_params(axis="x", labelrotation=90)


def _wrapped(name: str) -> str:
    lines = textwrap.wrap(name, NAME_WIDTH, break_long_words=False, max_lines=3, placeholder="…")
    return "\n".join(_truncate(line, NAME_WIDTH + 2) for line in lines)


def _truncate(text: str, width: int = ROTATED_NAME_WIDTH) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
