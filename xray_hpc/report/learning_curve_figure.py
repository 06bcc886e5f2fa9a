"""Draw the learning curves of many runs, one color per run."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

from xray_hpc.figure_files import escape_dollars
from xray_hpc.report.figure_style import OTHER_RUNS_COLOR, other_runs_label
from xray_hpc.report.roc_figure import draw_other_runs
from xray_hpc.report.run_result import Points, RunResult
from xray_hpc.report.swept_keys import SEED, compared_keys, config_value, format_value, short_name
from xray_hpc.report.typed_csv import row_count

DASHED = (0, (3, 2))
BEST_EPOCH: dict[str, Any] = {
    **{"linestyle": "", "marker": "o", "markersize": 6},
    **{"markerfacecolor": "white", "markeredgewidth": 1.6},
}
NAMES = {"accuracy": "Accuracy", "loss": "Loss", "auc": "AUC"}
MAX_RUNS_IN_ONE_PANEL = 4
MAX_PANELS = 9
LOG_SCALE_RATIO = 30  # a loss whose maximum exceeds this multiple of its minimum has a log scale


def learning_curves(
    runs: Sequence[RunResult], quantity: str, colors: Mapping[str, str], labels: Mapping[str, str]
) -> Figure | None:
    """Draw ``accuracy``, ``loss`` or ``auc`` over the epochs; return ``None`` without data.

    Validation curves are solid with the best epoch marked; training curves (there is no training
    AUC) are dashed. Runs without a color have thin grey validation curves only. Many runs, or runs
    on different data, are split into a panel per model, or per value of a swept key if all runs
    have the same model.
    """
    drawn = [run for run in runs if run.epochs is not None and f"val_{quantity}" in run.epochs]
    if not drawn:
        return None
    panels = _panels(drawn)
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    size = (6.4, 4.4) if len(panels) == 1 else (max(3.0 * columns, 6.4), 2.5 * rows + 1.4)
    figure = Figure(figsize=size)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax, (title, members) in zip(grid, panels.items(), strict=False):
        others = [_curve(run, f"val_{quantity}") for run in members if run.name not in colors]
        draw_other_runs(ax, others)
        for run in members:
            if run.name in colors:
                _draw(ax, run, quantity, colors[run.name])
        ax.set_title(escape_dollars(title))
    for ax in grid[len(panels) :]:
        ax.set_axis_off()
    _set_limits(grid[0], quantity, drawn, colors)
    for i, ax in enumerate(grid[: len(panels)]):
        if i % columns == 0:
            log = " (log scale)" if ax.get_yscale() == "log" else ""
            ax.set_ylabel(NAMES[quantity] + log)
        if i + columns >= len(panels):
            ax.set_xlabel("Epoch")
            ax.tick_params(labelbottom=True)
    _style_legend(figure, training=_has_training(drawn, quantity))
    _color_legend(figure, drawn, colors, labels)
    return figure


def _panels(runs: Sequence[RunResult]) -> dict[str, list[RunResult]]:
    datasets = {run.config.get("inputs.data") for run in runs}
    if len(runs) <= MAX_RUNS_IN_ONE_PANEL and len(datasets) == 1:
        return {"": list(runs)}
    panels: dict[str, list[RunResult]] = defaultdict(list)
    if len({run.model for run in runs}) > 1:
        for run in runs:
            panels[run.model].append(run)
        return panels
    values = {
        key: {format_value(config_value(run, key)) for run in runs}
        for key in compared_keys(runs)
        if key != SEED
    }
    candidates = [key for key, found in values.items() if 1 < len(found) <= MAX_PANELS]
    if not candidates:
        return {"": list(runs)}
    key = min(candidates, key=lambda key: len(values[key]))
    ordered = sorted(runs, key=lambda run: _sort_key(config_value(run, key)))
    for run in ordered:
        panels[f"{short_name(key)} {format_value(config_value(run, key))}"].append(run)
    return panels


def _sort_key(value: object) -> tuple[bool, float, str]:
    """Sort numbers by value, before texts."""
    if isinstance(value, int | float):
        return (False, float(value), str(value))
    return (True, 0.0, str(value))


def _curve(run: RunResult, column: str) -> Points:
    assert run.epochs is not None
    return np.stack([run.epochs["epoch"], run.epochs[column]], axis=1)


def _has_training(runs: Sequence[RunResult], quantity: str) -> bool:
    return any(run.epochs is not None and f"train_{quantity}" in run.epochs for run in runs)


def _draw(ax: Axes, run: RunResult, quantity: str, color: str) -> None:
    validation = _curve(run, f"val_{quantity}")
    marker = "." if len(validation) == 1 else ""  # a line through one point is invisible
    if _has_training([run], quantity):
        train = _curve(run, f"train_{quantity}")
        ax.plot(*train.T, color=color, linewidth=1.1, linestyle=DASHED, marker=marker, zorder=2)
    ax.plot(*validation.T, color=color, marker=marker, zorder=3)
    best = validation[validation[:, 0] == (run.metrics and run.metrics.best_epoch)]
    ax.plot(*best.T, color=color, zorder=4, **BEST_EPOCH)


def _set_limits(
    ax: Axes, quantity: str, runs: Sequence[RunResult], colors: Mapping[str, str]
) -> None:
    """Set limits that include all colored curves; the panels of a figure share them.

    Grey curves may extend the range to at most twice its size, so that one diverged run does not
    flatten all others.
    """
    colored = [run for run in runs if run.name in colors] or runs
    named = _values(colored, quantity, "train_", "val_")
    every = np.concatenate([named, _values(runs, quantity, "val_")])
    last = max(row_count(run.epochs) for run in runs if run.epochs is not None)
    margin = 0.02 * max(last - 1, 1) + 0.05
    ax.set_xlim(1 - margin, last + margin + (last == 1))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    if not len(named):
        return
    low, high = float(named.min()), float(named.max())
    span = high - low
    if quantity != "loss":
        low = max(float(every.min()), low - span)
        ax.set_ylim(max(low - 0.05 * (1 - low) - 0.005, 0), 1.005)
        return
    high = min(float(every.max()), high + span)
    if low > 0 and high > LOG_SCALE_RATIO * low:
        ax.set_yscale("log")
        ax.set_ylim(low / 1.2, high * 1.2)
        ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        ax.set_ylim(0, 1.05 * high or 1)


def _values(runs: Sequence[RunResult], quantity: str, *prefixes: str) -> Points:
    columns = [f"{prefix}{quantity}" for prefix in prefixes]
    tables = [run.epochs for run in runs if run.epochs is not None]
    found = [table[column] for table in tables for column in columns if column in table]
    values: Points = np.concatenate(found)
    return values[np.isfinite(values)]


def _style_legend(figure: Figure, *, training: bool) -> None:
    styles = [Line2D([], [], color="black", label="validation")]
    if training:
        train = Line2D([], [], color="black", linestyle=DASHED, linewidth=1.1, label="training")
        styles.append(train)
    styles.append(Line2D([], [], color="black", label="best epoch", **BEST_EPOCH))
    figure.legend(handles=styles, loc="outside upper right", ncols=3, handlelength=2.2)


def _color_legend(
    figure: Figure, runs: Sequence[RunResult], colors: Mapping[str, str], labels: Mapping[str, str]
) -> None:
    handles = []
    for run in runs:
        if run.name in colors:
            label = escape_dollars(labels[run.name]) + ("" if run.finished else f" ({run.status})")
            handles.append(Line2D([], [], color=colors[run.name], linewidth=2.4, label=label))
    if others := len(runs) - len(handles):
        label = other_runs_label(others)
        handles.append(Line2D([], [], color=OTHER_RUNS_COLOR, linewidth=0.8, label=label))
    longest = max(len(str(handle.get_label())) for handle in handles)
    fitting = int(figure.get_figwidth() / (0.55 + 0.068 * longest))
    columns = max(1, min(len(handles), fitting, 4 if len(handles) == 8 else 5))
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, columnspacing=1.6)
