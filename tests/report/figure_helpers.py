"""Helpers that draw figures of sweeps and return their texts."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from tests.report.fake_runs import FakeRun, write_run
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report.dataset_groups import group_runs, interleave_groups
from xray_hpc.report.figure_style import report_style, run_colors
from xray_hpc.report.learning_curve_figure import learning_curves
from xray_hpc.report.read_run import read_run
from xray_hpc.report.roc_figure import roc_overlay
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import compared_keys, run_labels


def read_runs(sweep: SweepPaths) -> list[RunResult]:
    return [read_run(sweep.run(path.name)) for path in sorted(sweep.runs.iterdir())]


def many_runs(folder: Path, models: tuple[str, ...] = ("ft",), seeds: int = 12) -> list[RunResult]:
    sweep = SweepPaths(folder)
    for model in models:
        for seed in range(seeds):
            write_run(sweep, model, FakeRun(epochs=3, seed=seed), seed=seed)
    return read_runs(sweep)


def draw_roc(runs: list[RunResult], split: str = "validation") -> Figure | None:
    groups = group_runs(runs)
    colors = run_colors(interleave_groups(groups))
    with report_style():
        return roc_overlay(groups, split, colors, run_labels(runs, compared_keys(runs)))


def draw_curves(runs: list[RunResult], quantity: str = "loss") -> Figure | None:
    with report_style():
        return learning_curves(
            runs, quantity, run_colors(runs), run_labels(runs, compared_keys(runs))
        )


def legend_texts(figure: Figure) -> list[str]:
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes)]
    return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


def panel_titles(figure: Figure) -> list[str]:
    return [title for ax in figure.axes if (title := ax.get_title(loc="left"))]
