"""Measure how cost grows with runs, epochs and images, in the tutorial and in the toolkit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tests.benchmarks import dataset_subset
from tests.benchmarks.figure_style import DPI, PALETTE, report_style
from tests.benchmarks.line_fit import fit_line
from tests.benchmarks.markdown_table import Table, number
from tests.benchmarks.timing import REPOSITORY, log_progress
from tests.benchmarks.training_methods import (
    Task,
    Training,
    train_like_tutorial,
    train_with_toolkit,
)
from xray_hpc.figure_files import save_figure

FIGURE = REPOSITORY / "results" / "example" / "growth.png"
SIZE = 64
# The fixed values of the quantities that do not grow.
RUNS, EPOCHS, IMAGES = 1, 10, 1_000
OURS = {"runs": (1, 8, 32), "epochs": (1, 10, 50), "images": (500, 1_000, 2_000, 5_216)}
THEIRS = {"runs": (1, 2, 3), "epochs": (1, 4, 7, 10), "images": (500, 1_000, 2_000)}
WAYS = {"tutorial": (PALETTE[1], "s"), "ours": (PALETTE[0], "o")}
RATE = 3e-4

DASHES = (3, 2)

Points = dict[int, float]


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """Yield one table of points and fitted lines, measured once; also draw ``FIGURE``."""
    whole = dataset_subset.find_dataset(folder)
    largest = max(OURS["images"])
    tasks = {
        images: Task(
            dataset_subset.make_subset(whole, images, folder),
            SIZE,
            EPOCHS,
            "mobilenet_v2",
            whole.weights,
        )
        for images in OURS["images"]
    }
    grown = {"tutorial": tutorial(tasks, folder), "ours": own(tasks, folder)}
    save_figure(draw(grown), FIGURE, dpi=DPI)
    table = Table(
        "Growth of cost",
        f"Total CPU seconds of `tl` with MobileNetV2 at {SIZE} px ({whole.name}): "
        f"{RUNS} run, {EPOCHS} epochs and {IMAGES:,} images to train and validate on except for "
        f"the quantity that grows, with a proportional number of test images (624 for "
        f"{largest:,}). Lines are fitted by least squares. The tutorial's values for fewer runs "
        "and epochs are taken from its three runs in one process. The figure is "
        f"`{FIGURE.relative_to(REPOSITORY)}`.",
        ("quantity", "method", "measured", "intercept", "slope", "at the maximum, on the line"),
    )
    for what, most in OURS.items():
        for way, points in grown.items():
            fitted = fit_line(points[what])
            measured = ", ".join(f"{x:,}: {number(y)}" for x, y in points[what].items())
            cells = (number(fitted.intercept), f"{fitted.slope:.3g}", number(fitted(max(most))))
            table.rows.append((what, way, measured, *cells))
    for what in OURS:
        slopes = [fit_line(grown[way][what]).slope for way in WAYS]
        table.remarks.append(
            f"Additional {what} cost {number(slopes[0] / slopes[1])} times less in the toolkit."
        )
    yield table


def rates(runs: int) -> list[float]:
    """Return ``runs`` learning rates."""
    return [float(f"{rate:.3g}") for rate in np.geomspace(RATE / 10, RATE * 10, runs)]


def own(tasks: Mapping[int, Task], folder: Path) -> dict[str, Points]:
    """Measure the toolkit: one launch per point, with an empty cache."""

    def cost(runs: int = RUNS, epochs: int = EPOCHS, images: int = IMAGES) -> float:
        log_progress(f"growth: {runs} runs, {epochs} epochs, {images} images")
        task, values = tasks[images], ",".join(f"{rate:g}" for rate in rates(runs))
        task = Task(task.subset, task.size, epochs, task.backbone, task.weights)
        return train_with_toolkit(
            task, ["model=tl", f"train.learning_rate={values}"], folder
        ).usage.cpu

    base = cost()
    return {
        "runs": {n: base if n == RUNS else cost(runs=n) for n in OURS["runs"]},
        "epochs": {n: base if n == EPOCHS else cost(epochs=n) for n in OURS["epochs"]},
        "images": {n: base if n == IMAGES else cost(images=n) for n in OURS["images"]},
    }


def tutorial(tasks: Mapping[int, Task], folder: Path) -> dict[str, Points]:
    """Measure the tutorial: one process for runs and epochs, and one per number of images."""
    most = max(THEIRS["runs"])
    log_progress(f"growth: {most} runs as the tutorial does")
    runs = train_like_tutorial(
        tasks[IMAGES], EPOCHS, [Training("tl", r) for r in rates(most)], folder
    )
    costs = runs.start + np.cumsum([runs.cpu(training) for training in runs.trainings])
    done = next(iter(runs.trainings.values()))["epochs"]
    images = {IMAGES: costs[RUNS - 1]}
    for count in THEIRS["images"]:
        if count not in images:
            log_progress(f"growth: {count} images as the tutorial does")
            way = train_like_tutorial(tasks[count], EPOCHS, [Training("tl", RATE)], folder)
            images[count] = way.start + sum(map(way.cpu, way.trainings))
    return {
        "runs": {n: float(costs[n - 1]) for n in THEIRS["runs"]},
        "epochs": {n: float(costs[0] - done[-1] + done[n - 1]) for n in THEIRS["epochs"]},
        "images": {n: float(images[n]) for n in THEIRS["images"]},
    }


GREY = "#666666"
SMALL = 7.5


def draw(grown: Mapping[str, Mapping[str, Points]]) -> Figure:
    """Draw a panel per quantity that grows."""
    fixed = {"runs": f"{RUNS} run", "epochs": f"{EPOCHS} epochs", "images": f"{IMAGES:,} images"}
    with report_style():
        figure = Figure(figsize=(7.4, 3.1))
        for axes, what in zip(figure.subplots(1, 3), OURS, strict=True):
            for way, points in grown.items():
                draw_way(axes, way, what, points[what])
            others = ", ".join(text for name, text in fixed.items() if name != what)
            axes.set_title(f"More {what}", pad=16)
            place = {"xytext": (0, 5), "textcoords": "offset points", "fontsize": SMALL}
            axes.annotate(others, (0, 1), xycoords="axes fraction", color=GREY, **place)
            axes.set(xlim=(0, None), ylim=(0, None), xlabel=what)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter("{x:,.0f}")
        figure.axes[0].set_ylabel("CPU seconds in total")
        handles = [
            Line2D([], [], color=GREY, linestyle="", marker="o", markersize=4, label="measured"),
            Line2D([], [], color=GREY, label="least squares"),
            Line2D([], [], color=GREY, dashes=DASHES, label="extrapolated"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def draw_way(axes: Axes, way: str, what: str, points: Points) -> None:
    """Draw measured points and their line, dashed where extrapolated."""
    color, marker = WAYS[way]
    fitted, known, most = fit_line(points), max(points), max(OURS[what])
    axes.plot((0, known), (fitted(0), fitted(known)), color=color)
    if known < most:
        axes.plot((known, most), (fitted(known), fitted(most)), color=color, dashes=DASHES)
    dots = {"markersize": 4, "clip_on": False, "zorder": 3}
    axes.plot(list(points), list(points.values()), marker, color=color, **dots)
    words = f"{way}: {fitted.slope:,.2g}" if fitted.slope < 10 else f"{way}: {fitted.slope:,.0f}"
    axes.annotate(
        f"{words} s\na{'n' if what[0] in 'aei' else ''} {what[:-1]}",
        (0.8 * most, fitted(0.8 * most)),
        xytext=(-7, 3),
        textcoords="offset points",
        ha="right",
        color=color,
        fontsize=SMALL,
    )
