"""Learning curves: what they show of which runs. How they look is for eyes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.report.drawing import draw_curves, legend_texts, many, runs_of, titles
from tests.report.synthetic import Drawn, experiments, grid, hold, write_run
from xray_hpc.records.paths import SweepPaths


def test_the_best_epoch_is_marked_on_the_validation_curve(sweep: SweepPaths) -> None:
    (run,) = [run for run in runs_of(sweep) if run.model == "ft"]
    figure = draw_curves([run])
    assert figure is not None
    assert run.epochs is not None
    marks = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    best = run.metrics.best_epoch
    assert [line.get_xydata().tolist() for line in marks] == [  # type: ignore[union-attr]
        [[best, run.epochs["val_loss"][best]]]
    ]


def test_the_auc_is_of_validation_only(sweep: SweepPaths) -> None:
    figure = draw_curves(runs_of(sweep), "auc")
    assert figure is not None
    assert len(figure.axes[0].get_lines()) == 2 * 3  # a curve and a mark for each
    assert legend_texts(figure) == ["validation", "kept epoch", "cnn", "ft", "tl"]


def test_an_auc_that_is_never_defined_is_drawn_empty(sweep: SweepPaths) -> None:
    (run, *_) = runs_of(sweep)
    assert run.epochs is not None
    run.epochs["val_auc"][:] = np.nan
    assert draw_curves([run], "auc") is not None


def test_runs_on_different_data_do_not_share_a_panel(tmp_path: Path) -> None:
    figure = draw_curves([r for r in runs_of(experiments(tmp_path)) if r.model in ("lung", "vgg")])
    assert figure is not None
    assert titles(figure) == ["lung", "vgg"]


def test_many_runs_get_a_panel_a_model(tmp_path: Path) -> None:
    figure = draw_curves(many(tmp_path, ("cnn", "tl", "ft"), seeds=2))
    assert figure is not None
    assert titles(figure) == ["cnn", "ft", "tl"]


def test_many_runs_of_one_model_get_a_panel_a_value(tmp_path: Path) -> None:
    figure = draw_curves(runs_of(grid(tmp_path)))
    assert figure is not None
    assert titles(figure) == ["unfreeze 2", "unfreeze 13", "unfreeze 24"]


def test_seeds_alone_share_a_panel(tmp_path: Path) -> None:
    figure = draw_curves(many(tmp_path))
    assert figure is not None
    assert titles(figure) == []
    assert legend_texts(figure)[-1] == "4 other runs"


def test_a_run_still_going_is_drawn_and_said_to_be(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    hold(write_run(sweep, "tl", Drawn(epochs=1), status="running"))
    figure = draw_curves(runs_of(sweep))
    assert figure is not None
    assert "tl (running)" in legend_texts(figure)


def test_a_single_epoch_is_a_dot(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    write_run(sweep, "tl", Drawn(epochs=1), status="running")
    figure = draw_curves(runs_of(sweep))
    assert figure is not None
    markers = [line.get_marker() for line in figure.axes[0].get_lines()]
    assert markers == [".", ".", "o"]


def test_a_diverged_loss_is_drawn_on_a_log_scale(sweep: SweepPaths) -> None:
    (run, *_) = runs_of(sweep)
    assert run.epochs is not None
    run.epochs["val_loss"][5:] = 1e6
    run.epochs["val_loss"][7:] = np.nan
    figure = draw_curves([run])
    assert figure is not None
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[0].get_ylabel() == "Loss (log scale)"


def test_a_loss_that_never_was_a_number_is_drawn_empty(sweep: SweepPaths) -> None:
    (run, *_) = runs_of(sweep)
    assert run.epochs is not None
    run.epochs["val_loss"][:] = run.epochs["train_loss"][:] = np.nan
    assert draw_curves([run]) is not None


def test_one_hopeless_grey_curve_does_not_flatten_the_others(tmp_path: Path) -> None:
    runs = many(tmp_path)
    assert runs[-1].epochs is not None
    runs[-1].epochs["val_loss"][:] = 1000.0
    figure = draw_curves(runs)
    assert figure is not None
    assert figure.axes[0].get_ylim()[1] < 3
