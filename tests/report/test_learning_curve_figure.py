"""Tests of the content of the learning curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.report.fake_runs import FakeRun, hold_lease, write_run
from tests.report.fake_sweeps import experiment_sweep, grid_sweep
from tests.report.figure_helpers import (
    draw_curves,
    legend_texts,
    many_runs,
    panel_titles,
    read_runs,
)
from xray_hpc.records.paths import SweepPaths


def test_best_epoch_is_marked_on_the_validation_curve(sweep: SweepPaths) -> None:
    (run,) = [run for run in read_runs(sweep) if run.model == "ft"]
    figure = draw_curves([run])
    assert figure is not None
    assert run.epochs is not None
    markers = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    best = run.metrics.best_epoch
    assert [line.get_xydata().tolist() for line in markers] == [  # type: ignore[union-attr]
        [[best, run.epochs["val_loss"][best - 1]]]
    ]


def test_auc_has_validation_curves_only(sweep: SweepPaths) -> None:
    figure = draw_curves(read_runs(sweep), "auc")
    assert figure is not None
    assert len(figure.axes[0].get_lines()) == 2 * 3  # a curve and a marker for each run
    assert legend_texts(figure) == ["validation", "best epoch", "cnn", "ft", "tl"]


def test_undefined_auc_gives_an_empty_figure(sweep: SweepPaths) -> None:
    (run, *_) = read_runs(sweep)
    assert run.epochs is not None
    run.epochs["val_auc"][:] = np.nan
    assert draw_curves([run], "auc") is not None


def test_runs_on_different_data_have_their_own_panels(tmp_path: Path) -> None:
    figure = draw_curves(
        [r for r in read_runs(experiment_sweep(tmp_path)) if r.model in ("lung", "vgg")]
    )
    assert figure is not None
    assert panel_titles(figure) == ["lung", "vgg"]


def test_many_runs_have_a_panel_per_model(tmp_path: Path) -> None:
    figure = draw_curves(many_runs(tmp_path, ("cnn", "tl", "ft"), seeds=2))
    assert figure is not None
    assert panel_titles(figure) == ["cnn", "ft", "tl"]


def test_many_runs_of_one_model_have_a_panel_per_value(tmp_path: Path) -> None:
    figure = draw_curves(read_runs(grid_sweep(tmp_path)))
    assert figure is not None
    assert panel_titles(figure) == ["unfreeze 2", "unfreeze 13", "unfreeze 24"]


def test_runs_that_differ_in_seed_only_share_a_panel(tmp_path: Path) -> None:
    figure = draw_curves(many_runs(tmp_path))
    assert figure is not None
    assert panel_titles(figure) == []
    assert legend_texts(figure)[-1] == "4 other runs"


def test_running_run_is_labelled_with_its_status(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    hold_lease(write_run(sweep, "tl", FakeRun(epochs=1), status="running"))
    figure = draw_curves(read_runs(sweep))
    assert figure is not None
    assert "tl (running)" in legend_texts(figure)


def test_single_epoch_is_drawn_as_a_dot(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    write_run(sweep, "tl", FakeRun(epochs=1), status="running")
    figure = draw_curves(read_runs(sweep))
    assert figure is not None
    markers = [line.get_marker() for line in figure.axes[0].get_lines()]
    assert markers == [".", ".", "o"]


def test_diverged_loss_has_a_log_scale(sweep: SweepPaths) -> None:
    (run, *_) = read_runs(sweep)
    assert run.epochs is not None
    run.epochs["val_loss"][5:] = 1e6
    run.epochs["val_loss"][7:] = np.nan
    figure = draw_curves([run])
    assert figure is not None
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[0].get_ylabel() == "Loss (log scale)"


def test_loss_of_nan_only_gives_an_empty_figure(sweep: SweepPaths) -> None:
    (run, *_) = read_runs(sweep)
    assert run.epochs is not None
    run.epochs["val_loss"][:] = run.epochs["train_loss"][:] = np.nan
    assert draw_curves([run]) is not None


def test_outlier_without_a_color_does_not_flatten_the_others(tmp_path: Path) -> None:
    runs = many_runs(tmp_path)
    assert runs[-1].epochs is not None
    runs[-1].epochs["val_loss"][:] = 1000.0
    figure = draw_curves(runs)
    assert figure is not None
    assert figure.axes[0].get_ylim()[1] < 3
