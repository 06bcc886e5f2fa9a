"""What all figures have in common."""

from __future__ import annotations

from pathlib import Path

from drawing import draw_curves, draw_roc, runs_of
from synthetic import Drawn, write_run

from xray_hpc.report.groups import ranked
from xray_hpc.report.style import PALETTE, save
from xray_hpc.runs.paths import SweepPaths


def test_a_run_has_one_colour_in_all_figures(sweep: SweepPaths) -> None:
    runs = ranked(runs_of(sweep))
    drawn_all = [draw_curves(runs, what) for what in ("accuracy", "loss", "auc")]
    for figure in (draw_roc(runs), *drawn_all):
        assert figure is not None
        drawn = {line.get_color() for ax in figure.axes for line in ax.get_lines()}
        assert set(PALETTE[:3]) <= drawn
        assert not set(PALETTE[3:]) & drawn


def test_the_same_figure_gives_the_same_bytes(sweep: SweepPaths, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        figure = draw_roc(runs_of(sweep))
        assert figure is not None
        save(figure, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_names_with_dollars_and_foreign_letters_are_drawn(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path / "runs")
    write_run(sweep, "$(x)^_$-模型", Drawn(epochs=2))
    figure = draw_curves(runs_of(sweep))
    assert figure is not None
    save(figure, tmp_path / "odd.png")
