"""Learning curves of many runs, in one colour a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

from xray_hpc.figure_files import escape_dollars
from xray_hpc.report.csv_columns import height
from xray_hpc.report.figure_style import REST, rest_label
from xray_hpc.report.roc_figure import draw_rest
from xray_hpc.report.run_result import Points, RunResult
from xray_hpc.report.swept_keys import SEED, compared_keys, short, show_value, value

DASHED = (0, (3, 2))
KEPT: dict[str, Any] = {
    **{"linestyle": "", "marker": "o", "markersize": 6},
    **{"markerfacecolor": "white", "markeredgewidth": 1.6},
}
NAMES = {"accuracy": "Accuracy", "loss": "Loss", "auc": "AUC"}
ONE_PANEL = 4  # so many runs share a panel of learning curves; more are spread over several
MOST_PANELS = 9
LOG_SPAN = 30  # a loss that spans so many times its least value is drawn on a log scale


def learning_curves(
    runs: Sequence[RunResult], what: str, colors: Mapping[str, str], labels: Mapping[str, str]
) -> Figure | None:
    """Draw ``accuracy``, ``loss`` or ``auc`` over the epochs; ``None`` if no run has any.

    Validation is solid with the kept epoch marked, training (which has no AUC) is dashed. Runs
    without a colour are thin and grey, validation only. Many runs, and those on different data,
    get a panel for each model, or for each value of a swept key where there is one model only.
    """
    drawn = [run for run in runs if run.epochs is not None and f"val_{what}" in run.epochs]
    if not drawn:
        return None
    panels = _panels(drawn)
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    size = (6.4, 4.4) if len(panels) == 1 else (max(3.0 * columns, 6.4), 2.5 * rows + 1.4)
    figure = Figure(figsize=size)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax, (title, members) in zip(grid, panels.items(), strict=False):
        rest = [_curve(run, f"val_{what}") for run in members if run.name not in colors]
        draw_rest(ax, rest)
        for run in members:
            if run.name in colors:
                _draw(ax, run, what, colors[run.name])
        ax.set_title(escape_dollars(title))
    for ax in grid[len(panels) :]:
        ax.set_axis_off()
    _scale(grid[0], what, drawn, colors)
    for i, ax in enumerate(grid[: len(panels)]):
        if i % columns == 0:
            log = " (log scale)" if ax.get_yscale() == "log" else ""
            ax.set_ylabel(NAMES[what] + log)
        if i + columns >= len(panels):
            ax.set_xlabel("Epoch")
            ax.tick_params(labelbottom=True)
    _legends(figure, drawn, colors, labels, training=_has_training(drawn, what))
    return figure


def _panels(runs: Sequence[RunResult]) -> dict[str, list[RunResult]]:
    if len(runs) <= ONE_PANEL and len({run.config.get("inputs.data") for run in runs}) == 1:
        return {"": list(runs)}
    panels: dict[str, list[RunResult]] = {}
    if len({run.model for run in runs}) > 1:
        for run in runs:
            panels.setdefault(run.model, []).append(run)
        return panels
    values = {
        key: {show_value(value(run, key)) for run in runs}
        for key in compared_keys(runs)
        if key != SEED
    }
    few = [key for key, seen in values.items() if 1 < len(seen) <= MOST_PANELS]
    if not few:
        return {"": list(runs)}
    key = min(few, key=lambda key: len(values[key]))
    ordered = sorted(runs, key=lambda run: _sortable(value(run, key)))
    for run in ordered:
        panels.setdefault(f"{short(key)} {show_value(value(run, key))}", []).append(run)
    return panels


def _sortable(value: object) -> tuple[bool, float, str]:
    """Numbers by size, before texts."""
    number = isinstance(value, int | float)
    return (not number, float(value) if isinstance(value, int | float) else 0.0, str(value))


def _curve(run: RunResult, column: str) -> Points:
    assert run.epochs is not None
    return np.stack([run.epochs["epoch"], run.epochs[column]], axis=1)


def _has_training(runs: Sequence[RunResult], what: str) -> bool:
    return any(run.epochs is not None and f"train_{what}" in run.epochs for run in runs)


def _draw(ax: Axes, run: RunResult, what: str, color: str) -> None:
    validation = _curve(run, f"val_{what}")
    dot = "." if len(validation) == 1 else ""  # a line of one epoch has no length
    if _has_training([run], what):
        train = _curve(run, f"train_{what}")
        ax.plot(*train.T, color=color, linewidth=1.1, linestyle=DASHED, marker=dot, zorder=2)
    ax.plot(*validation.T, color=color, marker=dot, zorder=3)
    kept = validation[validation[:, 0] == (run.metrics and run.metrics.best_epoch)]
    ax.plot(*kept.T, color=color, zorder=4, **KEPT)


def _scale(ax: Axes, what: str, runs: Sequence[RunResult], colors: Mapping[str, str]) -> None:
    """Limits that show every named curve whole; the panels of a figure share them.

    Grey curves may widen them to twice the span, no further: one diverged run must not flatten
    all others.
    """
    named = _values([run for run in runs if run.name in colors] or runs, what, "train_", "val_")
    every = np.concatenate([named, _values(runs, what, "val_")])
    last = max(height(run.epochs) for run in runs if run.epochs is not None) - 1
    ax.set_xlim(-0.02 * max(last, 1) - 0.05, 1.02 * last + 0.05 + (last == 0))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    if not len(named):
        return
    low, high = float(named.min()), float(named.max())
    span = high - low
    if what != "loss":
        low = max(float(every.min()), low - span)
        ax.set_ylim(max(low - 0.05 * (1 - low) - 0.005, 0), 1.005)
        return
    high = min(float(every.max()), high + span)
    if low > 0 and high > LOG_SPAN * low:
        ax.set_yscale("log")
        ax.set_ylim(low / 1.2, high * 1.2)
        ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        ax.set_ylim(0, 1.05 * high or 1)


def _values(runs: Sequence[RunResult], what: str, *which: str) -> Points:
    columns = [f"{prefix}{what}" for prefix in which]
    tables = [
        run.epochs[column]
        for run in runs
        for column in columns
        if run.epochs is not None and column in run.epochs
    ]
    values: Points = np.concatenate(tables)
    return values[np.isfinite(values)]


def _legends(
    figure: Figure,
    runs: Sequence[RunResult],
    colors: Mapping[str, str],
    labels: Mapping[str, str],
    *,
    training: bool,
) -> None:
    """What the strokes mean, above the panels; whose colour is whose, below them."""
    strokes = [
        Line2D([], [], color="black", label="validation"),
        Line2D([], [], color="black", linestyle=DASHED, linewidth=1.1, label="training"),
        Line2D([], [], color="black", label="kept epoch", **KEPT),
    ]
    if not training:
        del strokes[1]
    figure.legend(handles=strokes, loc="outside upper right", ncols=3, handlelength=2.2)
    handles = []
    for run in runs:
        if run.name in colors:
            label = escape_dollars(labels[run.name]) + ("" if run.finished else f" ({run.status})")
            handles.append(Line2D([], [], color=colors[run.name], linewidth=2.4, label=label))
    if rest := len(runs) - len(handles):
        label = rest_label(rest)
        handles.append(Line2D([], [], color=REST, linewidth=0.8, label=label))
    longest = max(len(str(handle.get_label())) for handle in handles)
    fitting = int(figure.get_figwidth() / (0.55 + 0.068 * longest))
    columns = max(1, min(len(handles), fitting, 4 if len(handles) == 8 else 5))
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, columnspacing=1.6)
