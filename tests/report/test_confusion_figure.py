"""Tests of the figure of confusion matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.report.fake_runs import THREE_CLASSES, FakeRun, write_run
from tests.report.fake_sweeps import experiment_sweep, three_class_sweep
from tests.report.figure_helpers import read_runs
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report.confusion_figure import confusion_matrices
from xray_hpc.report.dataset_groups import rank_runs
from xray_hpc.report.figure_style import report_style
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import compared_keys, run_labels


def draw_confusion(runs: list[RunResult]) -> Figure | None:
    with report_style():
        return confusion_matrices(runs, "test", run_labels(runs, compared_keys(runs)))


def test_cells_show_counts_and_shares_of_the_row(tmp_path: Path) -> None:
    (run, *_) = rank_runs(read_runs(three_class_sweep(tmp_path / "three")))
    figure = draw_confusion([run])
    assert figure is not None
    counts = np.array(run.metric("test", "confusion"))
    shares = counts / counts.sum(axis=1, keepdims=True)
    pairs = zip(counts.ravel(), shares.ravel(), strict=True)
    expected = [text for count, share in pairs for text in (str(count), f"{share:.1%}")]
    ax, colorbar = figure.axes
    assert [text.get_text() for text in ax.texts] == expected
    assert ax.get_xlabel() == "Predicted"
    assert ax.get_ylabel() == "True"
    assert colorbar.get_ylabel() == "Share of the true class"


def test_panels_with_equal_classes_share_the_class_names(tmp_path: Path) -> None:
    def panels_with_names(figure: Figure | None) -> list[bool]:
        assert figure is not None
        panels = [ax for ax in figure.axes if ax.get_title(loc="left")]
        return [bool(ax.get_yticklabels()[0].get_text()) for ax in panels]

    runs = rank_runs(read_runs(three_class_sweep(tmp_path / "three")))
    assert panels_with_names(draw_confusion(runs[:6])) == [True, False, False, True, False, False]
    experiments = draw_confusion(read_runs(experiment_sweep(tmp_path / "experiments")))
    assert all(panels_with_names(experiments))


def test_class_without_images_has_no_shares(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    write_run(sweep, "lung", FakeRun(images={"validation": 9, "test": 2}, classes=THREE_CLASSES))
    figure = draw_confusion(read_runs(sweep))
    assert figure is not None
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("0") + sum("%" in text for text in texts) < 18
    assert not any("nan" in text for text in texts)


@pytest.mark.parametrize(("k", "texts"), [(7, 49), (14, 0)])
def test_many_classes_omit_shares_then_counts(tmp_path: Path, k: int, texts: int) -> None:
    classes = tuple(f"finding number {i:02}" for i in range(k))
    sweep = SweepPaths(tmp_path)
    write_run(sweep, "lung", FakeRun(classes=classes))
    figure = draw_confusion(read_runs(sweep))
    assert figure is not None
    assert len(figure.axes[0].texts) == texts


@pytest.mark.parametrize(
    ("name", "of_three", "of_five"),
    [
        ("Consolidation", "Consolidation", "Consolidation"),
        ("Viral Pneumonia", "Viral\nPneumonia", "Viral Pneumonia"),
        ("Enlarged cardiomediastinum", "Enlarged\ncardiomediast…", "Enlarged cardio…"),
    ],
)
def test_long_class_names_are_wrapped_or_truncated(
    tmp_path: Path, name: str, of_three: str, of_five: str
) -> None:
    for others, shown in ((("y", "z"), of_three), (("w", "x", "y", "z"), of_five)):
        sweep = SweepPaths(tmp_path / f"{len(others)}")
        write_run(sweep, "lung", FakeRun(classes=(name, *others)))
        figure = draw_confusion(read_runs(sweep))
        assert figure is not None
        assert figure.axes[0].get_xticklabels()[0].get_text() == shown
