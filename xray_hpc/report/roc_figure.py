"""ROC curves of many runs, in one colour a run and one panel a data set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xray_hpc.figure_files import escape_dollars
from xray_hpc.report.figure_style import GUIDE, REST, rest_label, square
from xray_hpc.report.formatting import ratio
from xray_hpc.report.run_groups import Group
from xray_hpc.report.run_result import Points, RunResult
from xray_hpc.text import format_count

CHANCE: dict[str, Any] = {"color": GUIDE, "linewidth": 0.9, "linestyle": (0, (4, 3))}
MOST_PANELS = 9


def roc_overlay(
    groups: Sequence[Group], split: str, colors: Mapping[str, str], labels: Mapping[str, str]
) -> Figure | None:
    """Overlay the ROC curves of each group's runs on one split; ``None`` if there are none.

    Of more than two classes it is the macro average of each against the rest. Runs without a
    colour are drawn thin and grey, behind the others.
    """
    every = [(group, curves) for group in groups if (curves := _curves(group, split))]
    if not every:
        return None
    panels = every[:MOST_PANELS]
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    size = (4.8, 4.8) if len(panels) == 1 else (4.2 * columns, 4.2 * rows + 0.4)
    figure = Figure(figsize=size)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (group, curves) in zip(grid, panels, strict=False):
        _draw(ax, group, curves, split, colors, labels)
        counted = _counted([run for run, _ in curves], split)
        what = group.title if len(every) > 1 else f"ROC on {split}"
        ax.set_title(escape_dollars(", ".join(filter(None, [what, counted]))))
        ax.set(xlabel="False positive rate (1 - specificity)")
        ax.set(ylabel="True positive rate (sensitivity)")
    for ax in grid[len(panels) :]:
        ax.set_axis_off()
    if len(every) > 1:
        cut = f" ({len(panels)} of {len(every)} data sets)" if len(every) > len(panels) else ""
        figure.suptitle(f"ROC on {split}{cut}", x=0.01, ha="left", weight="bold")
    return figure


def _draw(
    ax: Axes,
    group: Group,
    curves: Sequence[tuple[RunResult, Points]],
    split: str,
    colors: Mapping[str, str],
    labels: Mapping[str, str],
) -> None:
    ax.plot([0, 1], [0, 1], zorder=1, **CHANCE)
    rest = [points for run, points in curves if run.name not in colors]
    draw_rest(ax, rest)
    named = [(run, points) for run, points in curves if run.name in colors]
    for depth, (run, points) in enumerate(named):
        label = f"{ratio(run.measure(split, 'auc'))}  {escape_dollars(labels[run.name])}"
        color, above = colors[run.name], 3 - 0.1 * depth
        ax.plot(*points.T, color=color, label=label, zorder=above)
    handles = ax.get_legend_handles_labels()[0]
    if rest:
        label = rest_label(len(rest))
        handles.append(Line2D([], [], color=REST, linewidth=0.8, label=label))
    handles.append(Line2D([], [], label="0.500  chance", **CHANCE))
    square(ax)
    ax.legend(
        handles=handles,
        title="AUC" if group.two_classes else f"AUC, macro average of {len(group.classes)} classes",
        loc="lower right",
        alignment="left",
        handlelength=1.6,
        frameon=True,
        edgecolor="none",
    )


def draw_rest(ax: Axes, curves: Sequence[Points]) -> None:
    """Draw the ``[N, 2]`` points of each curve thin and grey."""
    alpha = 1 if len(curves) <= 40 else 0.4  # so that a crowd shows where it is dense
    ax.add_collection(LineCollection(curves, colors=REST, linewidths=0.8, alpha=alpha, zorder=1.5))


def _curves(group: Group, split: str) -> list[tuple[RunResult, Points]]:
    """The runs that have a curve: there is none where the split has one class only."""
    return [(run, run.curves[split]) for run in group.runs if split in run.curves]


def _counted(runs: Sequence[RunResult], split: str) -> str:
    images = {run.measure(split, "images") for run in runs}
    return format_count(images.pop(), "image") if len(images) == 1 else ""
