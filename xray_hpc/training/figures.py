"""The figures of one run: learning curves and ROC curves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xray_hpc.runs.files import replacing
from xray_hpc.runs.paths import RunPaths

TRAIN, VALIDATION = "#0072B2", "#D55E00"  # of Okabe and Ito's palette, safe for colour-blind eyes


def learning_curve(history: pd.DataFrame, what: str, title: str, best_epoch: int) -> Figure:
    """Draw ``train_<what>`` and ``val_<what>`` over the epochs; the kept epoch is marked."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for column, label, colour in (
        (f"train_{what}", "training", TRAIN),
        (f"val_{what}", "validation", VALIDATION),
    ):
        axes.plot(history["epoch"], history[column], color=colour, label=label, marker=".")
    axes.axvline(best_epoch, color="0.6", linestyle=":", label=f"kept: epoch {best_epoch}")
    axes.set(xlabel="Epoch", ylabel=what.capitalize(), title=f"{title}: {what} in training")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def roc_curve(
    fpr: npt.NDArray[np.float64], tpr: npt.NDArray[np.float64], auc: float | None, title: str
) -> Figure:
    """Draw one ROC curve over the line of chance; ``fpr`` and ``tpr`` are ``[K]``."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    label = "one class only" if auc is None else f"AUC {auc:.3f}"
    axes.plot(fpr, tpr, color=TRAIN, linewidth=2, label=label)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", label="chance")
    axes.set(xlabel="False positive rate", ylabel="True positive rate", title=title, aspect="equal")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def save(paths: RunPaths, name: str, figure: Figure) -> None:
    """Write ``figures/<name>.png`` in one step, with no date in it."""
    FigureCanvasAgg(figure)
    with replacing(paths.figures / f"{name}.png") as temporary:
        figure.savefig(temporary, dpi=150, metadata={"Software": None})
