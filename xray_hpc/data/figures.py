"""Pictures of a data set: samples of each class, and how many images each class has."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import StrMethodFormatter

from xray_hpc.data.dataset import Dataset
from xray_hpc.data.entries import counted
from xray_hpc.runs.files import replacing

# Okabe and Ito's colours, which readers with any colour vision can tell apart.
COLORS = ("#0072B2", "#E69F00")
ROWS, COLUMNS = 3, 4
DPI = 150
TITLE, LABEL, SMALL = 15, 12, 11
GREY = "#444444"


def sample_grid(dataset: Dataset, split: str, label: int) -> Figure:
    """Twelve images of one class, evenly spaced over the split's files; fewer if it has fewer."""
    members = np.sort(dataset.splits[split])
    members = members[dataset.labels[members] == label]
    wanted = min(ROWS * COLUMNS, len(members))
    picked = members[np.linspace(0, len(members) - 1, wanted).round().astype(int)] if wanted else []
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    figure = Figure(figsize=(8, 6.5), layout=layout)
    figure.suptitle(
        f"{_plain(dataset.classes[label])} · {split}\n", fontsize=TITLE, fontweight="bold"
    )
    axes = figure.subplots(ROWS, COLUMNS).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, i in zip(axes, picked, strict=False):
        image = dataset.images[i]
        shown = image[:, :, 0] if image.shape[2] == 1 else image
        ax.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
    return figure


def class_bars(dataset: Dataset) -> Figure:
    """Images of each class, a panel for training data and one for the test set.

    Training data is what the test set leaves; the lighter part on top is held out to validate.
    """
    figure = Figure(figsize=(9, 4.8), layout=ConstrainedLayoutEngine(wspace=0.08))
    left, right = figure.subplots(1, 2)
    train, validation, test = (_count(dataset, name) for name in ("train", "validation", "test"))
    names = [_plain(name) for name in dataset.classes]
    left.bar(names, train, width=0.6, color=COLORS)
    left.bar(names, validation, width=0.6, bottom=train, color=COLORS, alpha=0.45)
    for x, (fit, held) in enumerate(zip(train, validation, strict=True)):
        if fit >= 0.12 * (train + validation).max():
            left.text(
                x, fit / 2, f"train\n{fit:,}", ha="center", va="center", fontsize=SMALL,
                color="white" if x == 0 else "black",
            )  # fmt: skip
        _on_top(left, x, fit + held, f"{fit + held:,}", f"{held:,} of them validation")
    right.bar(names, test, width=0.6, color=COLORS)
    for x, count in enumerate(test):
        _on_top(right, x, count, f"{count:,}", "")
    _finish_bars(left, "Training data", train + validation)
    _finish_bars(right, "Test set", test)
    return figure


def class_pies(dataset: Dataset) -> Figure:
    """Share of each class, a pie for training data (with validation) and one for the test set."""
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    both = _count(dataset, "train") + _count(dataset, "validation")
    for ax, title, values in (
        (left, "Training data", both),
        (right, "Test set", _count(dataset, "test")),
    ):
        wedges, _ = ax.pie(
            values.tolist(), colors=COLORS, startangle=90, counterclock=False,
            wedgeprops={"edgecolor": "white", "linewidth": 2},
        )  # fmt: skip
        for x, (wedge, value) in enumerate(zip(wedges, values.tolist(), strict=True)):
            angle = np.deg2rad((wedge.theta1 + wedge.theta2) / 2)
            ax.text(
                0.58 * np.cos(angle), 0.58 * np.sin(angle),
                f"{value / values.sum():.1%}\n{value:,}", ha="center", va="center",
                fontsize=LABEL, color="white" if x == 0 else "black",
            )  # fmt: skip
        _title(ax, title, values)
    names = [_plain(name) for name in dataset.classes]
    figure.legend(
        wedges, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=LABEL
    )
    return figure


def write_figures(dataset: Dataset, folder: Path) -> list[Path]:
    """Write every figure as a PNG, and return the files.

    ``{train,test}_samples_{class}.png``, ``class_bars.png`` and ``class_pies.png``. The same data
    gives the same bytes.
    """
    figures = {"class_bars": class_bars(dataset), "class_pies": class_pies(dataset)}
    for label, name in enumerate(file_names(dataset.classes)):
        for split in ("train", "test"):
            figures[f"{split}_samples_{name}"] = sample_grid(dataset, split, label)
    written = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        with replacing(path) as temporary, warnings.catch_warnings():
            # A class may be named in a script that the font lacks: boxes are shown for it.
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            figure.savefig(temporary, dpi=DPI, metadata={"Software": None})
        written.append(path)
    return written


def file_names(classes: tuple[str, ...]) -> list[str]:
    """The classes as parts of file names: ``"Viral Pneumonia"`` is ``"viral_pneumonia"``."""
    names = [re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in classes]
    if len(set(names)) < len(names) or not all(names):
        return [f"{name}{label}" for label, name in enumerate(names)]
    return names


def _count(dataset: Dataset, split: str) -> npt.NDArray[np.int64]:
    labels = dataset.labels[dataset.splits[split]]
    return np.bincount(labels, minlength=len(dataset.classes))


def _plain(name: str) -> str:
    return name.replace("$", r"\$")  # matplotlib reads a pair of dollars as mathematics


def _title(ax: Axes, title: str, values: npt.NDArray[np.int64]) -> None:
    ax.set_title(
        f"{title} · {counted(int(values.sum()), 'image')}",
        fontsize=TITLE, fontweight="bold", pad=12,
    )  # fmt: skip


def _on_top(ax: Axes, x: int, height: int, text: str, small: str) -> None:
    def write(words: str, points: int, size: int, color: str, weight: str) -> None:
        ax.annotate(
            words, (x, height), xytext=(0, points), textcoords="offset points",
            ha="center", va="bottom", fontsize=size, color=color, fontweight=weight,
        )  # fmt: skip

    if small:
        write(small, 4, SMALL - 2, GREY, "normal")
    write(text, 18 if small else 4, LABEL, "black", "bold")


def _finish_bars(ax: Axes, title: str, totals: npt.NDArray[np.int64]) -> None:
    _title(ax, title, totals)
    ax.set_ylim(0, 1.16 * totals.max())
    ax.set_xlim(-0.55, len(totals) - 0.45)
    ax.set_ylabel("Images", fontsize=LABEL)
    ax.tick_params(axis="x", labelsize=LABEL, length=0)
    ax.tick_params(axis="y", labelsize=SMALL)
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    ax.set_axisbelow(True)
