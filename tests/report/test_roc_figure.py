"""ROC curves: what they show of which runs. How they look is for eyes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import auc

from tests.report.drawing import draw_roc, legend_texts, many, runs_of, titles
from tests.report.synthetic import Drawn, experiments, three_classes, write_run
from xray_hpc.records.atomic_files import write_csv
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report.figure_style import PALETTE
from xray_hpc.report.run_groups import ranked


def test_the_roc_legend_gives_each_auc_of_its_split(sweep: SweepPaths) -> None:
    runs = runs_of(sweep)
    for split in ("validation", "test"):
        figure = draw_roc(runs, split)
        assert figure is not None
        expected = [f"{run.measure(split, 'auc'):.3f}  {run.model}" for run in ranked(runs)]
        assert legend_texts(figure) == [*expected, "0.500  chance"]


def test_roc_axes_are_square(sweep: SweepPaths) -> None:
    figure = draw_roc(runs_of(sweep))
    assert figure is not None
    (ax,) = figure.axes
    assert ax.get_aspect() == 1
    assert ax.get_xlim() == ax.get_ylim()


def test_of_many_runs_the_best_eight_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    runs = many(tmp_path)
    figure = draw_roc(runs)
    assert figure is not None
    best = [f"{run.measure('validation', 'auc'):.3f}" for run in ranked(runs)[:8]]
    texts = legend_texts(figure)
    assert [text.split()[0] for text in texts[:8]] == best
    assert texts[8:] == ["4 other runs", "0.500  chance"]


def test_data_sets_have_a_panel_each_and_more_than_two_classes_their_macro_average(
    tmp_path: Path,
) -> None:
    runs = sorted(runs_of(experiments(tmp_path)), key=lambda run: -len(run.classes))
    figure = draw_roc(runs, "test")
    assert figure is not None
    assert titles(figure) == ["demo, 3 classes, 66 images", "demo, 2 classes, 80 images"]
    heads = [legend.get_title().get_text() for ax in figure.axes if (legend := ax.get_legend())]
    assert heads == ["AUC, macro average of 3 classes", "AUC"]
    (lung,) = [run for run in runs if run.model == "lung"]
    macro = pd.DataFrame(lung.roc["test"]).query("`class` == 'macro average'")
    lines = [line for line in figure.axes[0].get_lines() if line.get_color() == PALETTE[0]]
    assert [line.get_xydata().tolist() for line in lines] == [  # type: ignore[union-attr]
        macro[["fpr", "tpr"]].to_numpy().tolist()
    ]
    assert auc(macro["fpr"], macro["tpr"]) == pytest.approx(lung.measure("test", "auc"), abs=1e-4)


def test_one_data_set_of_three_classes_has_one_panel(tmp_path: Path) -> None:
    figure = draw_roc(runs_of(three_classes(tmp_path / "three")), "test")
    assert figure is not None
    assert titles(figure) == ["ROC on test, 240 images"]


def test_of_more_data_sets_than_fit_the_first_are_drawn_and_counted(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    for i in range(11):
        write_run(sweep, "ft", Drawn(epochs=1), inputs__data=f"{i:012}")
    figure = draw_roc(runs_of(sweep))
    assert figure is not None
    assert len(titles(figure)) == 9
    assert figure.get_suptitle() == "ROC on validation (9 of 11 data sets)"


def test_a_split_with_one_class_has_no_roc(tmp_path: Path) -> None:
    paths = write_run(SweepPaths(tmp_path), "ft")
    points = {"fpr": [None, None], "tpr": [0.0, 1.0], "thresholds": [float("inf"), 0.2]}
    write_csv(paths.roc("ft", "test"), pd.DataFrame(points))
    runs = runs_of(SweepPaths(tmp_path))
    assert draw_roc(runs, "test") is None
    assert draw_roc(runs, "validation") is not None
