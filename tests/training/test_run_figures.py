"""The figures of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from tests.scored_splits import sigmoid
from xray_hpc.metrics import MACRO, MICRO, class_logits, roc_curves, split_metrics
from xray_hpc.records.paths import RunPaths
from xray_hpc.training import run_figures

THREE = ("Covid", "Normal", "Viral Pneumonia")
HISTORY = pd.DataFrame(
    {"epoch": [0, 1], "train_loss": [0.7, 0.5], "val_loss": [0.6, 0.4], "val_auc": [0.7, 0.9]}
)


def axes(figure: Figure) -> Axes:
    return figure.axes[0]


def legend(figure: Figure) -> list[str]:
    shown = axes(figure).get_legend()
    assert shown is not None
    return [text.get_text() for text in shown.get_texts()]


def test_learning_curve_shows_both_curves_and_the_selected_epoch() -> None:
    figure = run_figures.learning_curve(HISTORY, "loss", "CNN", best_epoch=1)
    assert legend(figure) == ["training", "validation", "selected: epoch 1"]
    assert axes(figure).get_title() == "CNN: loss in training"
    training, validation, selected = axes(figure).get_lines()
    assert [line.get_xdata().tolist() for line in (training, validation)] == [[1, 2], [1, 2]]
    assert selected.get_xdata() == [1, 1]


def test_learning_curve_of_auc_has_validation_only() -> None:
    figure = run_figures.learning_curve(HISTORY, "auc", "CNN", best_epoch=1)
    assert legend(figure) == ["validation", "selected: epoch 1"]
    assert axes(figure).get_ylabel() == "AUC"


def test_roc_of_two_classes_has_one_curve() -> None:
    logits = sigmoid([0.1, 0.6, 0.9, 0.4])
    curves = roc_curves([0, 0, 1, 1], logits, ("NORMAL", "PNEUMONIA"))
    figure = run_figures.roc(curves, {"PNEUMONIA": 0.75}, "CNN: ROC on test")
    assert legend(figure) == ["AUC 0.750", "chance"]


def test_roc_of_three_classes_has_a_curve_each_and_averages() -> None:
    logits = class_logits(np.array([[5, 2, 1], [3, 4, 1], [2, 3, 3], [1, 6, 1]]))
    measured = split_metrics([0, 0, 1, 1], logits, THREE)
    areas = {name: block.auc for name, block in measured.per_class.items()}
    areas |= {MICRO: measured.auc_micro, MACRO: measured.auc}
    figure = run_figures.roc(roc_curves([0, 0, 1, 1], logits, THREE), areas, "CNN: ROC on test")
    assert legend(figure) == [
        "Covid: AUC 1.000",
        "Normal: AUC 0.750",
        "Viral Pneumonia: not defined",
        "micro average: AUC 0.891",
        "macro average: AUC 0.875",
        "chance",
    ]
    colours = [line.get_color() for line in axes(figure).get_lines()[:3]]
    assert len(set(colours)) == 3


def test_confusion_shows_counts_and_shares() -> None:
    figure = run_figures.confusion([[3, 1, 0], [0, 1_000, 0], [0, 0, 0]], THREE, "CNN: confusion")
    cells = [text.get_text() for text in axes(figure).texts]
    assert cells[:6] == ["3", "75.0%", "1", "25.0%", "0", "0.0%"]
    assert cells[8:10] == ["1,000", "100.0%"]
    assert cells[-3:] == ["0", "0", "0"]  # no images, so no shares
    assert [label.get_text() for label in axes(figure).get_yticklabels()] == [
        "Covid",
        "Normal",
        "Viral\nPneumonia",
    ]


@pytest.mark.parametrize("percent", range(0, 101, 5))
def test_confusion_text_has_enough_contrast(percent: int) -> None:
    """Check the contrast of 4.5 that the Web Content Accessibility Guidelines require."""
    figure = run_figures.confusion([[percent, 100 - percent], [1, 1]], ("a", "b"), "CNN")
    image = axes(figure).get_images()[0]
    text = luminance(to_rgb(axes(figure).texts[0].get_color()))
    cell = luminance(image.to_rgba(percent / 100)[:3])
    assert (max(text, cell) + 0.05) / (min(text, cell) + 0.05) >= 4.5


def luminance(colour: tuple[float, ...]) -> float:
    """Return the relative luminance of an sRGB colour, as WCAG 2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_figures_draw_any_class_name_literally(tmp_path: Path) -> None:
    figure = run_figures.confusion([[1, 0], [0, 1]], ("$cost$", "肺炎"), "CNN: confusion")
    run_figures.write(RunPaths(tmp_path), "confusion", lambda: figure)
    assert (tmp_path / "figures" / "confusion.png").stat().st_size > 1000
    assert axes(figure).get_xticklabels()[0].get_text() == r"\$cost\$"
