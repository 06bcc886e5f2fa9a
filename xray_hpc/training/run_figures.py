"""Draw the figures of one run: augmented images, learning curves, ROC and confusion matrices."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from xray_hpc import figure_files
from xray_hpc.config.run_config import RunConfig
from xray_hpc.data.augmentation_figure import (
    ImageColumn,
    augment_rows,
    class_names_of,
    describe_augmentation,
    image_grid,
    original_column,
    sample_rows,
)
from xray_hpc.data.dataset import Dataset
from xray_hpc.metrics import MACRO, MICRO, Curve
from xray_hpc.records.paths import RunPaths
from xray_hpc.shared_folder import make_subfolder

# Okabe and Ito's palette for colour-blind readers, without its two colours that are pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
TRAIN, VALIDATION = COLOURS[:2]
AVERAGES = {MICRO: ("0.45", ":"), MACRO: ("black", "--")}
NAMES = {"auc": "AUC"}
P = ParamSpec("P")
EPOCHS = ("first epoch", "second", "third", "fourth", "fifth")


def learning_curve(history: pd.DataFrame, metric: str, title: str, best_epoch: int) -> Figure:
    """Draw ``train_<metric>`` (if recorded) and ``val_<metric>``; mark the selected epoch.

    The figure and ``best_epoch`` count epochs from 1, ``history`` from 0.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for column, label, colour in (
        (f"train_{metric}", "training", TRAIN),
        (f"val_{metric}", "validation", VALIDATION),
    ):
        if column in history:
            axes.plot(history["epoch"] + 1, history[column], color=colour, label=label, marker=".")
    axes.axvline(best_epoch, color="0.6", linestyle=":", label=f"selected: epoch {best_epoch}")
    name = NAMES.get(metric, metric)
    axes.set(
        xlabel="Epoch", ylabel=name[0].upper() + name[1:], title=f"{title}: {name} in training"
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def roc(curves: Mapping[str, Curve], areas: Mapping[str, float | None], title: str) -> Figure:
    """Draw the curves of :func:`xray_hpc.metrics.roc_curves` and the diagonal of chance.

    ``areas`` holds the area under each curve, ``None`` if it is undefined. The legend names the
    curves if there are several.
    """
    side = 5.0 if len(curves) == 1 else 6.0
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, (fpr, tpr, _)) in enumerate(curves.items()):
        round_ = number // len(COLOURS)
        style = COLOURS[number % len(COLOURS)], ("-", "-.")[round_ % 2]
        colour, line = AVERAGES.get(name, style)
        area = areas[name]
        text = "not defined" if area is None else f"AUC {area:.3f}"
        label = text if len(curves) == 1 else f"{figure_files.escape_dollars(name)}: {text}"
        axes.plot(fpr, tpr, color=colour, linestyle=line, linewidth=2, label=label)
    axes.plot([0, 1], [0, 1], color="0.75", linewidth=1, label="chance")
    axes.set(xlabel="False positive rate", ylabel="True positive rate", title=title, aspect="equal")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def confusion(counts: Sequence[Sequence[int]], classes: Sequence[str], title: str) -> Figure:
    """Draw ``counts`` ``[K][K]``, one row per true class, as a heat map.

    Each cell shows its count and its share of the images of the true class.
    """
    matrix = np.asarray(counts)
    images = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(images, 1)
    size = len(matrix)
    figure = Figure(figsize=(3.0 + 1.1 * size, 1.8 + 1.1 * size), layout="compressed")
    axes = figure.add_subplot()
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(size, size):
        colour = "white" if shares[row, column] > 0.72 else "black"
        cell = functools.partial(axes.text, column, ha="center", color=colour)
        cell(row, f"{matrix[row, column]:,}", va="bottom", fontsize=15)
        if images[row, 0]:
            cell(row + 0.08, f"{shares[row, column]:.1%}", va="top", fontsize=9.5)
    names = [
        textwrap.fill(figure_files.escape_dollars(name), 12, break_long_words=False)
        for name in classes
    ]
    axes.set_xticks(range(size), names)
    axes.set_yticks(range(size), names)
    axes.set(xlabel="Predicted", ylabel="True", title=title)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(size - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(size - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(shown, ax=axes, format=PercentFormatter(1), aspect=30)
    bar.set_label("Share of the true class")
    bar.outline.set_visible(False)
    return figure


def draw_augmentation_preview(dataset: Dataset, config: RunConfig) -> Figure:
    """Return a figure of some training images, unaugmented and exactly as in the first epochs.

    With ``train.balance=sampling`` an epoch may skip some of these images; they are drawn with the
    augmentation that they would get.
    """
    views = config.augment.views
    epochs = config.train.epochs if views is None else min(views, config.train.epochs)
    rows = sample_rows(dataset)
    originals = dataset.images[dataset.splits["train"][rows]]
    size = config.data.input_size
    columns = [original_column(list(originals), config.data)]
    for epoch, name in enumerate(EPOCHS[:epochs]):
        images = augment_rows(dataset, rows, size, config.augment, config.seed, epoch)
        columns.append(ImageColumn(name, (), images))
    note = ", ".join(describe_augmentation(config.augment))
    if views is not None:
        note += f", {views} views in turn" if views > 1 else ", one view"
    return image_grid("Augmented training images", note, class_names_of(dataset, rows), columns)


def write(
    paths: RunPaths, name: str, draw: Callable[P, Figure], *arguments: P.args, **keywords: P.kwargs
) -> None:
    """Write ``draw(...)`` to ``figures/<name>.png``; a figure that cannot be drawn is a warning."""
    drawing = functools.partial(draw, *arguments, **keywords)
    make_subfolder(paths.figures)
    figure_files.write_figure(paths.figures / f"{name}.png", drawing, dpi=150)
