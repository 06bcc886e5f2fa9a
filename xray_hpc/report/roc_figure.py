"""Draw the ROC curves of many runs: one color per run, one panel per data set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xray_hpc.count_text import format_count
from xray_hpc.figure_files import escape_dollars
from xray_hpc.report.dataset_groups import RunGroup
from xray_hpc.report.figure_style import (
    GUIDE_COLOR,
    OTHER_RUNS_COLOR,
    other_runs_label,
    set_unit_square,
)
from xray_hpc.report.formatting import format_ratio
from xray_hpc.report.run_result import Points, RunResult

CHANCE: dict[str, Any] = {"color": GUIDE_COLOR, "linewidth": 0.9, "linestyle": (0, (4, 3))}
MAX_PANELS = 9


def roc_overlay(
    groups: Sequence[RunGroup], split: str, colors: Mapping[str, str], labels: Mapping[str, str]
) -> Figure | None:
    """Overlay the ROC curves of each group's runs on one split; return ``None`` without curves.

    With more than two classes the curve is the macro average of the one-vs-rest curves. Runs
    without a color are drawn as thin grey lines behind the others.
    """
    available = [(group, curves) for group in groups if (curves := _curves(group, split))]
    if not available:
        return None
    panels = available[:MAX_PANELS]
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    size = (4.8, 4.8) if len(panels) == 1 else (4.2 * columns, 4.2 * rows + 0.4)
    figure = Figure(figsize=size)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (group, curves) in zip(grid, panels, strict=False):
        _draw(ax, group, curves, split, colors, labels)
        title = group.title if len(available) > 1 else f"ROC on {split}"
        counts = {run.metric(split, "images") for run, _ in curves}
        images = format_count(counts.pop(), "image") if len(counts) == 1 else ""
        ax.set_title(escape_dollars(", ".join(filter(None, [title, images]))))
        ax.set(xlabel="False positive rate (1 - specificity)")
        ax.set(ylabel="True positive rate (sensitivity)")
    for ax in grid[len(panels) :]:
        ax.set_axis_off()
    if len(available) > 1:
        omitted = len(available) > len(panels)
        shown = f" ({len(panels)} of {len(available)} data sets)" if omitted else ""
        figure.suptitle(f"ROC on {split}{shown}", x=0.01, ha="left", weight="bold")
    return figure


def _draw(
    ax: Axes,
    group: RunGroup,
    curves: Sequence[tuple[RunResult, Points]],
    split: str,
    colors: Mapping[str, str],
    labels: Mapping[str, str],
) -> None:
    ax.plot([0, 1], [0, 1], zorder=1, **CHANCE)
    others = [points for run, points in curves if run.name not in colors]
    draw_other_runs(ax, others)
    named = [(run, points) for run, points in curves if run.name in colors]
    for rank, (run, points) in enumerate(named):
        label = f"{format_ratio(run.metric(split, 'auc'))}  {escape_dollars(labels[run.name])}"
        ax.plot(*points.T, color=colors[run.name], label=label, zorder=3 - 0.1 * rank)
    handles = ax.get_legend_handles_labels()[0]
    if others:
        label = other_runs_label(len(others))
        handles.append(Line2D([], [], color=OTHER_RUNS_COLOR, linewidth=0.8, label=label))
    handles.append(Line2D([], [], label="0.500  chance", **CHANCE))
    set_unit_square(ax)
    title = "AUC" if group.is_binary else f"AUC, macro average of {len(group.classes)} classes"
    style: dict[str, Any] = {"handlelength": 1.6, "frameon": True, "edgecolor": "none"}
    ax.legend(handles=handles, title=title, loc="lower right", alignment="left", **style)


def draw_other_runs(ax: Axes, curves: Sequence[Points]) -> None:
    """Draw curves of ``[N, 2]`` points as thin grey lines."""
    alpha = 1 if len(curves) <= 40 else 0.4  # transparency shows where many lines overlap
    style: dict[str, Any] = {"linewidths": 0.8, "alpha": alpha, "zorder": 1.5}
    ax.add_collection(LineCollection(curves, colors=OTHER_RUNS_COLOR, **style))


def _curves(group: RunGroup, split: str) -> list[tuple[RunResult, Points]]:
    """Return the runs with a curve; a split with images of one class only has none."""
    return [(run, run.curves[split]) for run in group.runs if split in run.curves]
