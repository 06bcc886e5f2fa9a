"""Draw a model as a diagram of boxes, for a paper."""

from __future__ import annotations

import itertools

import keras
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from xray_hpc.models.diagram_boxes import LINE, PADDING, TIMES, WIDTH, Box, make_boxes
from xray_hpc.models.model_summary import count_trainable
from xray_hpc.models.registry import MODELS

# Fill and edge of a box by ``Box.training``.
COLOURS = {
    "none": ("#FFFFFF", "#8A8A8A"),
    "trained": ("#D6E8F5", "#0072B2"),
    "partly": ("#FBE9C9", "#C77F00"),
    "frozen": ("#E8E8E8", "#555555"),
}
# Inches.
MARGIN, TOP = 0.12, 0.6
STRAIGHT, BRANCHED = 0.34, 0.5  # between two rows: plain, or where branches split or join
TITLE, SMALL = 9.5, 8.0  # points
GREY = "#555555"


def draw_model(model: keras.Model) -> Figure:
    """Draw the layers from the image down to the scores, with branches side by side.

    A box holds a layer and the normalization, activation, pooling and dropout after it; a backbone
    is one box. The text beside an arrow is the shape of one image there. The colour and the text
    of a box tell whether its weights are trained, frozen or partly frozen.
    """
    boxes = make_boxes(model)
    rows: list[list[Box]] = [[] for _ in range(1 + max(box.level for box in boxes))]
    for box in boxes:
        rows[box.level].append(box)
    heights = [max(box.height for box in row) for row in rows]
    arrows = [STRAIGHT if len(a) == len(b) else BRANCHED for a, b in itertools.pairwise(rows)]
    width = 2 * max(box.x for box in boxes) + WIDTH + 2 * MARGIN
    height = TOP + sum(heights) + sum(arrows) + MARGIN
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-width / 2, width / 2), ylim=(height, 0))
    axes.set_axis_off()
    _draw_title(axes, model)
    top = TOP
    for row, tall, arrow in zip(rows, heights, [*arrows, 0.0], strict=True):
        for box in row:
            _draw_box(axes, box, top, tall)
            for target in box.targets:
                _draw_arrow(axes, (box.x, top + tall), (target.x, top + tall + arrow))
            if box.targets:
                shape = TIMES.join(f"{side:,}" for side in box.layers[-1].output.shape[1:])
                y = top + tall + STRAIGHT / 2
                axes.text(box.x + 0.1, y, shape, va="center", fontsize=SMALL, color=GREY)
        top += tall + arrow
    return figure


def _draw_title(axes: Axes, model: keras.Model) -> None:
    name = MODELS[model.name].title if model.name in MODELS else model.name
    total, trained = model.count_params(), count_trainable(model)
    share = "all" if total == trained else f"{trained:,} of them"
    axes.text(0, 0.2, name, ha="center", va="center", fontsize=12, weight="bold")
    text = f"{total:,} weights, {share} trained"
    axes.text(0, 0.42, text, ha="center", va="center", fontsize=9)


def _draw_box(axes: Axes, box: Box, top: float, tall: float) -> None:
    fill, edge = COLOURS[box.training]
    shape = "round,pad=0,rounding_size=0.08"
    corner = (box.x - WIDTH / 2, top)
    axes.add_patch(FancyBboxPatch(corner, WIDTH, tall, boxstyle=shape, fc=fill, ec=edge, lw=1.1))
    y = top + (tall - box.height) / 2 + PADDING + LINE / 2
    axes.text(box.x, y, box.title, ha="center", va="center", fontsize=TITLE, weight="bold")
    for line in box.lines:
        y += LINE
        axes.text(box.x, y, line, ha="center", va="center", fontsize=SMALL)
    if text := box.weights_text:
        y += LINE
        axes.text(box.x, y, text, ha="center", va="center", fontsize=SMALL, style="italic")


def _draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow straight down, or with two bends."""
    corner = end[1] - 0.2
    line = [start, (start[0], corner), (end[0], corner), (end[0], end[1] - 0.05)]
    axes.plot(*zip(*line, strict=True), color=GREY, linewidth=1, solid_joinstyle="round")
    arrow = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=(end[0], end[1] - 0.12), arrowprops=arrow)
