"""Confusion matrices of several runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.report.drawing import runs_of
from tests.report.synthetic import LUNGS, Drawn, experiments, three_classes, write_run
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report.confusion_figure import confusion_matrices
from xray_hpc.report.figure_style import look
from xray_hpc.report.run_groups import ranked
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import compared_keys, labels


def draw_confusion(runs: list[RunResult]) -> Figure | None:
    with look():
        return confusion_matrices(runs, "test", labels(runs, compared_keys(runs)))


def test_a_confusion_matrix_holds_counts_and_shares_of_the_rows(tmp_path: Path) -> None:
    (run, *_) = ranked(runs_of(three_classes(tmp_path / "three")))
    figure = draw_confusion([run])
    assert figure is not None
    counts = np.array(run.measure("test", "confusion"))
    shares = counts / counts.sum(axis=1, keepdims=True)
    both = zip(counts.ravel(), shares.ravel(), strict=True)
    expected = [text for count, share in both for text in (str(count), f"{share:.1%}")]
    ax, bar = figure.axes
    assert [text.get_text() for text in ax.texts] == expected
    assert ax.get_xlabel() == "Predicted"
    assert ax.get_ylabel() == "True"
    assert bar.get_ylabel() == "Share of the true class"


def test_panels_of_the_same_classes_share_their_names_and_others_have_their_own(
    tmp_path: Path,
) -> None:
    def named(figure: Figure | None) -> list[bool]:
        assert figure is not None
        panels = [ax for ax in figure.axes if ax.get_title(loc="left")]
        return [bool(ax.get_yticklabels()[0].get_text()) for ax in panels]

    runs = ranked(runs_of(three_classes(tmp_path / "three")))
    assert named(draw_confusion(runs[:6])) == [True, False, False, True, False, False]
    assert all(named(draw_confusion(runs_of(experiments(tmp_path / "experiments")))))


def test_a_class_without_images_has_no_shares(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    write_run(sweep, "lung", Drawn(images={"validation": 9, "test": 2}, classes=LUNGS))
    figure = draw_confusion(runs_of(sweep))
    assert figure is not None
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("0") + sum("%" in text for text in texts) < 18
    assert not any("nan" in text for text in texts)


@pytest.mark.parametrize(("k", "numbers"), [(7, 49), (14, 0)])
def test_many_classes_leave_out_shares_then_numbers(tmp_path: Path, k: int, numbers: int) -> None:
    classes = tuple(f"finding number {i:02}" for i in range(k))
    sweep = SweepPaths(tmp_path)
    write_run(sweep, "lung", Drawn(classes=classes))
    figure = draw_confusion(runs_of(sweep))
    assert figure is not None
    assert len(figure.axes[0].texts) == numbers


@pytest.mark.parametrize(
    ("name", "of_three", "of_five"),
    [
        ("Consolidation", "Consolidation", "Consolidation"),
        ("Viral Pneumonia", "Viral\nPneumonia", "Viral Pneumonia"),
        ("Enlarged cardiomediastinum", "Enlarged\ncardiomediast…", "Enlarged cardio…"),
    ],
)
def test_long_names_are_wrapped_or_cut(
    tmp_path: Path, name: str, of_three: str, of_five: str
) -> None:
    for others, shown in ((("y", "z"), of_three), (("w", "x", "y", "z"), of_five)):
        sweep = SweepPaths(tmp_path / f"{len(others)}")
        write_run(sweep, "lung", Drawn(classes=(name, *others)))
        figure = draw_confusion(runs_of(sweep))
        assert figure is not None
        assert figure.axes[0].get_xticklabels()[0].get_text() == shown
