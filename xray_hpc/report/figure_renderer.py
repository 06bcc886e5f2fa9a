"""The figures of a report by their files: how each is drawn."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from xray_hpc.figure_files import save_figure
from xray_hpc.report.confusion_figure import confusion_matrices
from xray_hpc.report.figure_style import DPI, look
from xray_hpc.report.heatmap_figure import lr_unfreeze_map
from xray_hpc.report.learning_curve_figure import learning_curves
from xray_hpc.report.roc_figure import roc_overlay

TRIMMED = "confusion_test.png"  # square panels leave margins; to find them takes time

DRAWN: dict[str, Callable[..., Figure | None]] = {
    "roc_validation.png": functools.partial(roc_overlay, split="validation"),
    "roc_test.png": functools.partial(roc_overlay, split="test"),
    TRIMMED: functools.partial(confusion_matrices, split="test"),
    "accuracy.png": functools.partial(learning_curves, what="accuracy"),
    "loss.png": functools.partial(learning_curves, what="loss"),
    "auc.png": functools.partial(learning_curves, what="auc"),
    "learning_rate_unfreeze.png": lr_unfreeze_map,
}


def draw(file: str, of: Mapping[str, Any], path: Path) -> bool:
    """Draw the figure called ``file`` into ``path``; whether there was anything to draw."""
    with look():
        figure = DRAWN[file](**of)
        if figure is not None:
            save_figure(figure, path, dpi=DPI, trim=file == TRIMMED)
    return figure is not None
