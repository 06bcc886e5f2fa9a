"""Figures of sweeps, and the words in them."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from tests.report.synthetic import Drawn, write_run
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report.figure_style import look, run_colors
from xray_hpc.report.learning_curve_figure import learning_curves
from xray_hpc.report.read_run import read_run
from xray_hpc.report.roc_figure import roc_overlay
from xray_hpc.report.run_groups import groups, leading
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import compared_keys, labels


def runs_of(sweep: SweepPaths) -> list[RunResult]:
    return [read_run(sweep.run(path.name)) for path in sorted(sweep.runs.iterdir())]


def many(folder: Path, models: tuple[str, ...] = ("ft",), seeds: int = 12) -> list[RunResult]:
    sweep = SweepPaths(folder)
    for model in models:
        for seed in range(seeds):
            write_run(sweep, model, Drawn(epochs=3, seed=seed), seed=seed)
    return runs_of(sweep)


def draw_roc(runs: list[RunResult], split: str = "validation") -> Figure | None:
    found = groups(runs)
    colors = run_colors(leading(found))
    with look():
        return roc_overlay(found, split, colors, labels(runs, compared_keys(runs)))


def draw_curves(runs: list[RunResult], what: str = "loss") -> Figure | None:
    with look():
        return learning_curves(runs, what, run_colors(runs), labels(runs, compared_keys(runs)))


def legend_texts(figure: Figure) -> list[str]:
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes)]
    return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


def titles(figure: Figure) -> list[str]:
    return [title for ax in figure.axes if (title := ax.get_title(loc="left"))]
