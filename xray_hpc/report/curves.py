"""ROC curves and learning curves of many runs, in one colour a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

from xray_hpc.report.reading import Run
from xray_hpc.report.style import GUIDE, REST, plain, square
from xray_hpc.report.wording import number_of, ratio

ONE_PANEL = 4  # so many runs share a panel of learning curves; more get one for each model
LOG_SPAN = 30  # a loss that spans so many times its least value is drawn on a log scale


def roc_overlay(
    runs: Sequence[Run], split: str, colors: Mapping[str, str], labels: Mapping[str, str]
) -> Figure | None:
    """Overlay the ROC curves of ``runs`` (best first) on one split; ``None`` if there are none.

    Runs without a colour are drawn thin and grey, behind the others.
    """
    drawn = [run for run in runs if _has_both_classes(run, split)]
    if not drawn:
        return None
    figure = Figure(figsize=(4.8, 4.8))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GUIDE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    rest = [_points(run, split) for run in drawn if run.name not in colors]
    axes.add_collection(LineCollection(rest, colors=REST, linewidths=0.8, zorder=1.5))
    named = [run for run in drawn if run.name in colors]
    for depth, run in enumerate(named):
        points = _points(run, split)
        label = f"{ratio(run.measure(split, 'auc'))}  {plain(labels[run.name])}"
        color, above = colors[run.name], 3 - 0.1 * depth
        axes.plot(points[:, 0], points[:, 1], color=color, label=label, zorder=above)
    handles = axes.get_legend_handles_labels()[0]
    if rest:
        handles.append(Line2D([], [], color=REST, linewidth=0.8, label=_others(len(rest))))
    handles.append(
        Line2D([], [], color=GUIDE, linewidth=0.9, linestyle=(0, (4, 3)), label="0.500  chance")
    )
    square(axes)
    images = {run.measure(split, "images") for run in drawn}
    counted = f" ({images.pop():,} images)" if len(images) == 1 else ""
    axes.set_title(f"ROC on {split}{counted}")
    axes.set(xlabel="False positive rate (1 - specificity)")
    axes.set(ylabel="True positive rate (sensitivity)")
    axes.legend(handles=handles, title="AUC", loc="lower right", alignment="left", handlelength=1.6)
    return figure


def _has_both_classes(run: Run, split: str) -> bool:
    table = run.roc.get(split)
    return table is not None and not table[["fpr", "tpr"]].isna().to_numpy().any()


def _points(run: Run, split: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return run.roc[split][["fpr", "tpr"]].to_numpy()


def _others(n: int) -> str:
    return f"{number_of(n, 'other run')}"


def learning_curves(
    runs: Sequence[Run], what: str, colors: Mapping[str, str], labels: Mapping[str, str]
) -> Figure | None:
    """Draw ``accuracy`` or ``loss`` over the epochs; ``None`` if no run has any.

    Validation is solid with the kept epoch marked, training is dashed. Runs without a colour
    are thin and grey, validation only. Many runs get a panel for each model.
    """
    drawn = [run for run in runs if run.epochs is not None and f"val_{what}" in run.epochs]
    if not drawn:
        return None
    panels = _panels(drawn)
    columns = min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    size = (6.4, 4.2) if len(panels) == 1 else (3.4 * columns, 2.9 * rows + 1.1)
    figure = Figure(figsize=size)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (model, members) in zip(grid, panels.items(), strict=False):
        rest = [_curve(run, f"val_{what}") for run in members if run.name not in colors]
        axes.add_collection(LineCollection(rest, colors=REST, linewidths=0.8, zorder=1.5))
        for run in members:
            if run.name in colors:
                _draw(axes, run, what, colors[run.name])
        if len(panels) > 1:
            axes.set_title(plain(model))
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    _scale(grid[0], what, drawn, colors)
    for i, axes in enumerate(grid[: len(panels)]):
        if i % columns == 0:
            axes.set_ylabel(what.capitalize())
        if i + columns >= len(panels):
            axes.set_xlabel("Epoch")
            axes.tick_params(labelbottom=True)
    _legends(figure, drawn, colors, labels)
    return figure


def _panels(runs: Sequence[Run]) -> dict[str, list[Run]]:
    if len(runs) <= ONE_PANEL:
        return {"": list(runs)}
    panels: dict[str, list[Run]] = {}
    for run in runs:
        panels.setdefault(run.model, []).append(run)
    return panels


def _curve(run: Run, column: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    assert run.epochs is not None
    return run.epochs[["epoch", column]].to_numpy(dtype=np.float64)


def _draw(axes: Axes, run: Run, what: str, color: str) -> None:
    train, validation = _curve(run, f"train_{what}"), _curve(run, f"val_{what}")
    axes.plot(*train.T, color=color, linewidth=1.1, linestyle=(0, (3, 2)), zorder=2)
    axes.plot(*validation.T, color=color, zorder=3)
    best = run.metrics.get("best_epoch")
    kept = validation[validation[:, 0] == best]
    axes.plot(
        *kept.T,
        linestyle="",
        marker="o",
        markersize=6,
        markerfacecolor="white",
        markeredgecolor=color,
        markeredgewidth=1.6,
        zorder=4,
    )


def _scale(axes: Axes, what: str, runs: Sequence[Run], colors: Mapping[str, str]) -> None:
    """Limits that show every named curve; the axes of a figure share them."""
    shown = [run for run in runs if run.name in colors] or runs
    columns = [f"train_{what}", f"val_{what}"]
    parts = [run.epochs[columns].to_numpy() for run in shown if run.epochs is not None]
    values = np.concatenate([part.ravel() for part in parts])
    values = values[np.isfinite(values)]
    last = max(len(run.epochs) for run in runs if run.epochs is not None) - 1
    axes.set_xlim(-0.02 * max(last, 1) - 0.05, 1.02 * last + 0.05 + (last == 0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    if not len(values):
        return
    low, high = float(values.min()), float(values.max())
    if what == "accuracy":
        axes.set_ylim(max(low - 0.05 * (1 - low) - 0.005, 0), 1.005)
    elif low > 0 and high > LOG_SPAN * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.2, high * 1.2)
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(0, 1.05 * high)


def _legends(
    figure: Figure, runs: Sequence[Run], colors: Mapping[str, str], labels: Mapping[str, str]
) -> None:
    """One legend under the panels: what the strokes mean, and whose colour is whose."""
    handles = [
        Line2D([], [], color="black", label="validation"),
        Line2D([], [], color="black", linewidth=1.1, linestyle=(0, (3, 2)), label="training"),
        Line2D(
            *([], []),
            linestyle="",
            marker="o",
            markersize=6,
            markerfacecolor="white",
            markeredgecolor="black",
            markeredgewidth=1.6,
            label="best epoch",
        ),
    ]
    rest = 0
    for run in runs:
        if run.name not in colors:
            rest += 1
            continue
        label = plain(labels[run.name]) + ("" if run.finished else f" ({run.status})")
        handles.append(Line2D([], [], color=colors[run.name], linewidth=2.4, label=label))
    if rest:
        handles.append(Line2D([], [], color=REST, linewidth=0.8, label=_others(rest)))
    longest = max(len(str(handle.get_label())) for handle in handles)
    width = figure.get_figwidth()
    columns = max(1, min(len(handles), int(width / (0.55 + 0.068 * longest))))
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=columns,
        handlelength=2.2,
        columnspacing=1.6,
    )
