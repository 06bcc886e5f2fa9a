"""Render a figure of the report to its file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from xray_hpc.figure_files import write_figure
from xray_hpc.report.confusion_figure import confusion_matrices
from xray_hpc.report.figure_style import DPI, report_style
from xray_hpc.report.learning_curve_figure import learning_curves
from xray_hpc.report.lr_unfreeze_heatmap import lr_unfreeze_heatmap
from xray_hpc.report.roc_figure import roc_overlay

# Square panels leave margins around them. Only this figure is trimmed, because that takes time.
TRIMMED = "confusion_test.png"

RENDERERS: dict[str, Callable[..., Figure | None]] = {
    "roc_validation.png": functools.partial(roc_overlay, split="validation"),
    "roc_test.png": functools.partial(roc_overlay, split="test"),
    TRIMMED: functools.partial(confusion_matrices, split="test"),
    "accuracy.png": functools.partial(learning_curves, quantity="accuracy"),
    "loss.png": functools.partial(learning_curves, quantity="loss"),
    "auc.png": functools.partial(learning_curves, quantity="auc"),
    "learning_rate_unfreeze.png": lr_unfreeze_heatmap,
}


def render_figure(file: str, arguments: Mapping[str, Any], path: Path) -> bool | None:
    """Render the figure ``file`` to ``path``; return what :func:`write_figure` does."""
    draw = functools.partial(RENDERERS[file], **arguments)
    return write_figure(path, draw, style=report_style(), dpi=DPI, trim=file == TRIMMED)
