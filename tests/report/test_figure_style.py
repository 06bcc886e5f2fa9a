"""Tests of the common style of all figures."""

from __future__ import annotations

from tests.report.figure_helpers import draw_curves, draw_roc, read_runs
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report.dataset_groups import rank_runs
from xray_hpc.report.figure_style import PALETTE


def test_run_has_the_same_color_in_all_figures(sweep: SweepPaths) -> None:
    runs = rank_runs(read_runs(sweep))
    drawn_all = [draw_curves(runs, what) for what in ("accuracy", "loss", "auc")]
    for figure in (draw_roc(runs), *drawn_all):
        assert figure is not None
        colors = {line.get_color() for ax in figure.axes for line in ax.get_lines()}
        assert set(PALETTE[:3]) <= colors
        assert not set(PALETTE[3:]) & colors
