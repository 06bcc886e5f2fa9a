"""Figures of a data set: sample images and image counts of each class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from textwrap import wrap

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from xray_hpc.count_text import format_count
from xray_hpc.data.dataset import Dataset
from xray_hpc.data.index_entry import SPLIT_NAMES
from xray_hpc.figure_files import escape_dollars, write_figure

# The colour-blind safe palette of Okabe and Ito.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
ON_COLORS = ("white", "black", "white", "black", "black", "white", "black", "black")
ROWS, COLUMNS = 3, 4
DPI = 150
TITLE, LABEL, SMALL = 15, 12, 11
WIDEST = 20  # inches
NARROW = 0.12  # up to this share, the label is outside the pie
LETTERS = 9.5  # letters of size LABEL per inch


def sample_grid(dataset: Dataset, split: str, label: int) -> Figure:
    """Draw up to twelve images of one class, evenly spaced over the files of the split."""
    members = np.sort(dataset.splits[split])
    members = members[dataset.labels[members] == label]
    wanted = min(ROWS * COLUMNS, len(members))
    picked = members[np.linspace(0, len(members) - 1, wanted).round().astype(int)] if wanted else []
    figure = Figure(figsize=(8, 6.25), layout=_layout(0.03))
    title = f"{escape_dollars(dataset.classes[label])} · {split}"
    figure.suptitle(title, fontsize=TITLE, fontweight="bold")
    axes = figure.subplots(ROWS, COLUMNS).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, i in zip(axes, picked, strict=False):
        image = dataset.images[i].squeeze()  # grey without its axis of one channel
        ax.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
    return figure


def class_bars(dataset: Dataset) -> Figure:
    """Draw the number of images of each class, in one panel for training and one for test data.

    The lighter part of a training bar is the validation split.
    """
    width = min(3.4 + 2.8 * len(dataset.classes), WIDEST)
    figure = Figure(figsize=(width, 4.8), layout=_layout(0.12))
    left, right = figure.subplots(1, 2)
    train, validation, test = (_count(dataset, name) for name in SPLIT_NAMES)
    letters = int(LETTERS * (width / 2 - 0.8) / len(dataset.classes))
    wrapped = [wrap(name, max(letters, 4)) for name in dataset.classes]
    names = ["\n".join(map(escape_dollars, lines)) for lines in wrapped]
    places = range(len(names))
    left.bar(places, train, width=0.76, color=COLORS)
    total = train + validation
    top = left.bar(places, validation, width=0.76, bottom=train, color=COLORS, alpha=0.45)
    bars = right.bar(places, test, width=0.76, color=COLORS)
    for ax, container, counts in ((left, top, total), (right, bars, test)):
        labels = [f"{count:,}" for count in counts]
        ax.bar_label(container, labels, padding=4, fontsize=LABEL, fontweight="bold")
    for x in places:
        for word, count, bottom, color in (
            ("train", train[x], 0, ON_COLORS[x % len(ON_COLORS)]),
            ("validation", validation[x], train[x], "black"),
        ):
            if count > 0.06 * total.max():
                shown = f"{word} {count:,}"
                left.text(
                    x, bottom + count / 2, shown if len(shown) <= letters else f"{count:,}",
                    ha="center", va="center", fontsize=SMALL, color=color,
                )  # fmt: skip
    _finish_bars(left, "Training data", names, total)
    _finish_bars(right, "Test set", names, test)
    return figure


def class_pies(dataset: Dataset) -> Figure:
    """Draw the share of each class, in one pie for training and validation and one for test."""
    figure = Figure(figsize=(9, 4.8), layout=_layout(0.12))
    train, validation, test = (_count(dataset, name) for name in SPLIT_NAMES)
    panels = {"Training data": train + validation, "Test set": test}
    for ax, (title, values) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        shares = values / values.sum()
        wedges, _ = ax.pie(
            values.tolist(), colors=COLORS, startangle=90, counterclock=False,
            wedgeprops={"edgecolor": "white", "linewidth": 2},
        )  # fmt: skip
        for x, (wedge, value) in enumerate(zip(wedges, values.tolist(), strict=True)):
            angle = np.deg2rad((wedge.theta1 + wedge.theta2) / 2)
            inside = shares[x] > NARROW
            radius = 0.6 if inside else 1.2
            ax.text(
                radius * np.cos(angle), radius * np.sin(angle), f"{shares[x]:.1%}\n{value:,}",
                ha="center", va="center", fontsize=LABEL,
                color=ON_COLORS[x % len(ON_COLORS)] if inside else "black",
            )  # fmt: skip
        limit = 1.05 if np.all(shares > NARROW) else 1.35
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit))
        _title(ax, title, values)
    names = [escape_dollars(name) for name in dataset.classes]
    columns = int(9 * LETTERS / (6 + max(map(len, names))))
    figure.legend(
        wedges, names, loc="outside lower center", ncols=min(len(names), max(columns, 1)),
        frameon=False, fontsize=LABEL,
    )  # fmt: skip
    return figure


def write_figures(dataset: Dataset, folder: Path) -> list[Path]:
    """Write ``{train,test}_samples_{class}.png``, ``class_bars.png`` and ``class_pies.png``.

    Return the files; a figure that cannot be drawn is a warning.
    """
    drawings = {"class_bars": partial(class_bars, dataset)}
    drawings["class_pies"] = partial(class_pies, dataset)
    for label, name in enumerate(file_names(dataset.classes)):
        for split in ("train", "test"):
            drawings[f"{split}_samples_{name}"] = partial(sample_grid, dataset, split, label)
    files = {folder / f"{name}.png": draw for name, draw in drawings.items()}
    return [path for path, draw in files.items() if write_figure(path, draw, dpi=DPI)]


def file_names(classes: tuple[str, ...]) -> list[str]:
    """Convert class names for file names: ``"Viral Pneumonia"`` to ``"viral_pneumonia"``."""
    names = [re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in classes]
    if len(set(names)) < len(names) or not all(names):
        return [f"{name}{label}" for label, name in enumerate(names)]
    return names


def _count(dataset: Dataset, split: str) -> npt.NDArray[np.int64]:
    labels = dataset.labels[dataset.splits[split]]
    return np.bincount(labels, minlength=len(dataset.classes))


def _title(ax: Axes, title: str, values: npt.NDArray[np.int64]) -> None:
    images = format_count(int(values.sum()), "image")
    ax.set_title(f"{title} · {images}", fontsize=TITLE, fontweight="bold", pad=12)


def _layout(pad: float) -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=pad, h_pad=pad, wspace=0, hspace=0)


def _finish_bars(ax: Axes, title: str, names: Sequence[str], totals: npt.NDArray[np.int64]) -> None:
    _title(ax, title, totals)
    ax.set_xticks(range(len(names)), names)
    ax.set_ylim(0, 1.1 * totals.max())
    ax.set_xlim(-0.55, len(totals) - 0.45)
    ax.set_ylabel("Images", fontsize=LABEL)
    ax.tick_params(axis="x", labelsize=LABEL, length=0)
    ax.tick_params(axis="y", labelsize=SMALL)
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.spines[["top", "right"]].set_visible(False)
