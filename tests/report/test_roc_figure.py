"""Tests of the content of the ROC figure."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import auc

from tests.report.fake_runs import FakeRun, write_run
from tests.report.fake_sweeps import experiment_sweep, three_class_sweep
from tests.report.figure_helpers import draw_roc, legend_texts, many_runs, panel_titles, read_runs
from xray_hpc.records.atomic_files import write_csv
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report.dataset_groups import rank_runs
from xray_hpc.report.figure_style import PALETTE


def test_legend_shows_the_auc_of_the_split(sweep: SweepPaths) -> None:
    runs = read_runs(sweep)
    for split in ("validation", "test"):
        figure = draw_roc(runs, split)
        assert figure is not None
        expected = [f"{run.metric(split, 'auc'):.3f}  {run.model}" for run in rank_runs(runs)]
        assert legend_texts(figure) == [*expected, "0.500  chance"]


def test_axes_are_square(sweep: SweepPaths) -> None:
    figure = draw_roc(read_runs(sweep))
    assert figure is not None
    (ax,) = figure.axes
    assert ax.get_aspect() == 1
    assert ax.get_xlim() == ax.get_ylim()


def test_legend_names_the_best_runs_and_counts_the_others(tmp_path: Path) -> None:
    runs = many_runs(tmp_path)
    figure = draw_roc(runs)
    assert figure is not None
    best = [f"{run.metric('validation', 'auc'):.3f}" for run in rank_runs(runs)[:8]]
    texts = legend_texts(figure)
    assert [text.split()[0] for text in texts[:8]] == best
    assert texts[8:] == ["4 other runs", "0.500  chance"]


def test_each_data_set_has_a_panel_and_multiclass_curves_are_macro_averages(tmp_path: Path) -> None:
    runs = sorted(read_runs(experiment_sweep(tmp_path)), key=lambda run: -len(run.classes))
    figure = draw_roc(runs, "test")
    assert figure is not None
    assert panel_titles(figure) == ["demo, 3 classes, 66 images", "demo, 2 classes, 80 images"]
    heads = [legend.get_title().get_text() for ax in figure.axes if (legend := ax.get_legend())]
    assert heads == ["AUC, macro average of 3 classes", "AUC"]
    (lung,) = [run for run in runs if run.model == "lung"]
    macro = pd.DataFrame(lung.roc["test"]).query("score_of == 'macro average'")
    lines = [line for line in figure.axes[0].get_lines() if line.get_color() == PALETTE[0]]
    assert [line.get_xydata().tolist() for line in lines] == [  # type: ignore[union-attr]
        macro[["fpr", "tpr"]].to_numpy().tolist()
    ]
    assert auc(macro["fpr"], macro["tpr"]) == pytest.approx(lung.metric("test", "auc"), abs=1e-4)


def test_single_data_set_has_one_panel(tmp_path: Path) -> None:
    figure = draw_roc(read_runs(three_class_sweep(tmp_path / "three")), "test")
    assert figure is not None
    assert panel_titles(figure) == ["ROC on test, 240 images"]


def test_number_of_panels_is_limited(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    for i in range(11):
        write_run(sweep, "ft", FakeRun(epochs=1), inputs__data=f"{i:012}")
    figure = draw_roc(read_runs(sweep))
    assert figure is not None
    assert len(panel_titles(figure)) == 9
    assert figure.get_suptitle() == "ROC on validation (9 of 11 data sets)"


def test_split_with_one_class_has_no_curve(tmp_path: Path) -> None:
    paths = write_run(SweepPaths(tmp_path), "ft")
    points = {"fpr": [None, None], "tpr": [0.0, 1.0], "thresholds": [float("inf"), 0.2]}
    write_csv(paths.roc("ft", "test"), pd.DataFrame(points))
    runs = read_runs(SweepPaths(tmp_path))
    assert draw_roc(runs, "test") is None
    assert draw_roc(runs, "validation") is not None
