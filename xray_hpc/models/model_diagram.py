"""A model shown: a diagram for a paper, and a table of its layers as text."""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

import keras
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from xray_hpc.models.layer_graph import sources
from xray_hpc.models.registry import MODELS

# Layers that are drawn into the box of the layer before them.
FOLLOWERS = frozenset(
    {
        *("Activation", "BatchNormalization", "Dropout", "Flatten", "GlobalAveragePooling2D"),
        *("GlobalBatchDropout", "MaxPooling2D", "Normalization", "ReLU", "Rescaling"),
    }
)
# Fill and edge of a box by what its weights do.
COLOURS = {
    "none": ("#FFFFFF", "#8A8A8A"),
    "trained": ("#D6E8F5", "#0072B2"),
    "partly": ("#FBE9C9", "#C77F00"),
    "frozen": ("#E8E8E8", "#555555"),
}
# Inches.
WIDTH, GAP, MARGIN, TOP, LINE, PAD = 3.6, 0.3, 0.12, 0.6, 0.17, 0.1
ARROW, BEND = 0.34, 0.5  # between two rows: straight down, and where branches part or meet
NAME, SMALL = 9.5, 8.0  # points
LETTERS = 62  # in a line of a box
GREY = "#555555"
TIMES = " \N{MULTIPLICATION SIGN} "


@dataclass
class _Box:
    """Layers drawn together: the first one's words, and those of what follows it."""

    name: str
    sources: list[_Box]
    layers: list[keras.Layer] = field(default_factory=list)
    more: list[str] = field(default_factory=list)
    targets: list[_Box] = field(default_factory=list)

    @property
    def level(self) -> int:
        return 1 + max((source.level for source in self.sources), default=-1)

    @property
    def x(self) -> float:
        """Its centre in inches from the model's middle: below its source, or beside others."""
        if not self.sources:
            return 0.0
        if len(self.sources) > 1:
            return sum(source.x for source in self.sources) / len(self.sources)
        beside = self.sources[0].targets
        place = [box is self for box in beside].index(True) - (len(beside) - 1) / 2
        return self.sources[0].x + place * (WIDTH + GAP)

    @property
    def weights(self) -> tuple[str, str]:
        """What its weights do (a key of COLOURS), and how many there are."""
        total = sum(layer.count_params() for layer in self.layers)
        trained = sum(map(trained_weights, self.layers))
        if not total:
            return "none", ""
        if not trained:
            return "frozen", f"{total:,} weights, frozen"
        if any(layer.count_params() and not _all_train(layer) for layer in self.layers):
            return "partly", f"{total:,} weights, {trained:,} of them trained"
        return "trained", f"{total:,} weights, trained"

    @property
    def lines(self) -> list[str]:
        words = " · ".join(item.replace(" ", "\xa0") for item in self.more)
        return [line.strip(" ·") for line in textwrap.wrap(words, LETTERS)]

    @property
    def height(self) -> float:
        return 2 * PAD + LINE * (1 + len(self.lines) + bool(self.weights[1]))


def draw(model: keras.Model) -> Figure:
    """Draw the layers from the image down to the scores, branches side by side.

    A box holds a layer and what belongs to it (normalization, activation, pooling, dropout); a
    backbone is one box. The text at an arrow is the shape of one image there. Boxes whose weights
    are trained, frozen or partly frozen differ in colour and say so.
    """
    boxes = _boxes(model)
    rows: list[list[_Box]] = [[] for _ in range(1 + max(box.level for box in boxes))]
    for box in boxes:
        rows[box.level].append(box)
    heights = [max(box.height for box in row) for row in rows]
    arrows = [ARROW if len(one) == len(two) else BEND for one, two in itertools.pairwise(rows)]
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
                y = top + tall + ARROW / 2
                axes.text(box.x + 0.1, y, shape, va="center", fontsize=SMALL, color=GREY)
        top += tall + arrow
    return figure


def _draw_title(axes: Axes, model: keras.Model) -> None:
    name = MODELS[model.name].title if model.name in MODELS else model.name
    total, trained = model.count_params(), trained_weights(model)
    share = "all" if total == trained else f"{trained:,} of them"
    axes.text(0, 0.2, name, ha="center", va="center", fontsize=12, weight="bold")
    words = f"{total:,} weights, {share} trained"
    axes.text(0, 0.42, words, ha="center", va="center", fontsize=9)


def _draw_box(axes: Axes, box: _Box, top: float, tall: float) -> None:
    kind, words = box.weights
    fill, edge = COLOURS[kind]
    style = "round,pad=0,rounding_size=0.08"
    corner = (box.x - WIDTH / 2, top)
    axes.add_patch(FancyBboxPatch(corner, WIDTH, tall, boxstyle=style, fc=fill, ec=edge, lw=1.1))
    y = top + (tall - box.height) / 2 + PAD + LINE / 2
    axes.text(box.x, y, box.name, ha="center", va="center", fontsize=NAME, weight="bold")
    for line in box.lines:
        y += LINE
        axes.text(box.x, y, line, ha="center", va="center", fontsize=SMALL)
    if words:
        axes.text(box.x, y + LINE, words, ha="center", va="center", fontsize=SMALL, style="italic")


def _draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Straight down, or down, aside and down."""
    bend = end[1] - 0.2
    line = [start, (start[0], bend), (end[0], bend), (end[0], end[1] - 0.05)]
    axes.plot(*zip(*line, strict=True), color=GREY, linewidth=1, solid_joinstyle="round")
    arrow = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=(end[0], end[1] - 0.12), arrowprops=arrow)


def _boxes(model: keras.Model) -> list[_Box]:
    """The layers of ``model`` in their order, folded into boxes."""
    consumers = [name for layer in model.layers for name in sources(layer)]
    boxes: list[_Box] = []
    of: dict[str, _Box] = {}
    for layer in model.layers:
        given = sources(layer)
        before = of[given[0]] if given else None
        follows = type(layer).__name__ in FOLLOWERS or layer.name.endswith("preprocessing")
        if follows and before and before.sources and consumers.count(given[0]) == 1:
            before.more.append(_words(layer))
        else:
            before = _Box(_words(layer, given), [of[name] for name in given])
            before.more.extend(_details(layer))
            for source in before.sources:
                source.targets.append(before)
            boxes.append(before)
        before.layers.append(layer)
        of[layer.name] = before
    return boxes


def _words(layer: keras.Layer, sources: list[str] | None = None) -> str:
    """The layer in the field's words, with what matters of it."""
    kind = type(layer).__name__
    if kind == "InputLayer":
        return "X-ray, pixels 0 to 255"
    if kind == "Conv2D" and layer.name.endswith("rgb_to_grey"):
        return "RGB to grey"
    if kind == "Conv2D":
        sides = TIMES.join(map(str, layer.kernel_size))
        return f"convolution {sides}, {layer.filters} filters{_activation(layer)}"
    if kind == "Dense":
        units = f"{layer.units} unit{'s' if layer.units > 1 else ''}"
        return f"dense, {units}{_activation(layer)}"
    if kind == "MaxPooling2D":
        return f"max pooling {TIMES.join(map(str, layer.pool_size))}"
    if kind in ("Dropout", "GlobalBatchDropout"):
        return f"dropout {layer.rate:g}"
    if kind in ("Activation", "ReLU"):
        return _activation(layer).removeprefix(", ") or "ReLU"
    if kind == "Rescaling":
        return "scaled to \N{MINUS SIGN}1 to 1" if layer.offset else "scaled to 0 to 1"
    if kind == "Concatenate":
        return "grey to RGB" if sources and len(sources) == 1 else "concatenated"
    if layer.name.endswith("preprocessing"):
        return "scaled by the image's mid-range"
    if isinstance(layer, keras.Model):
        return str(layer.name)
    plain = {
        "BatchNormalization": "batch normalization",
        "Flatten": "flattened",
        "GlobalAveragePooling2D": "global average pooling",
        "Normalization": "ImageNet's mean and deviation",
    }
    return plain.get(kind, kind)


def _activation(layer: keras.Layer) -> str:
    name = getattr(layer.activation, "__name__", "linear")
    return "" if name == "linear" else f", {'ReLU' if name == 'relu' else name}"


def _details(layer: keras.Layer) -> Iterator[str]:
    """Of a backbone: how many layers it has, and how many of the last train."""
    if isinstance(layer, keras.Model) and layer.count_params():
        free = sum(inner.trainable for inner in layer.layers)
        yield f"{len(layer.layers)} layers" + (f", the last {free} trained" if free else "")


def _all_train(layer: keras.Layer) -> bool:
    if isinstance(layer, keras.Model):
        return all(_all_train(inner) for inner in layer.layers)
    return bool(layer.trainable)


def trained_weights(layer: keras.Layer) -> int:
    """How many weights of the layer (or model) training changes by the gradient."""
    return sum(math.prod(variable.shape) for variable in layer.trainable_variables)


def summary(model: keras.Model) -> str:
    """A line for each layer, those of nested models too: name, kind, output, weights, trains.

    Unlike Keras's own summary it does not depend on the terminal's width, on what else the process
    has built, or on the optimizer.
    """
    total, trained = model.count_params(), trained_weights(model)
    rows = [("layer", "kind", "output", "weights", "trained"), *_rows(model, "")]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [f"{model.name}: {total:,} weights, {trained:,} of them trained", ""]
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=False)]
        right = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
        lines.append("  ".join(left + right).rstrip())
    return "\n".join(lines) + "\n"


def _rows(model: keras.Model, indent: str) -> Iterator[tuple[str, str, str, str, str]]:
    for layer in model.layers:
        kind, weights = type(layer).__name__, layer.count_params()
        # Keras numbers the layers that were given no name through the whole process.
        name = re.sub(r"_\d+$", "", layer.name)
        name = name if name.replace("_", "") == kind.lower() else layer.name
        shape = " x ".join(str(side) for side in layer.output.shape[1:])
        trained = f"{trained_weights(layer):,}" if weights else ""
        yield f"{indent}{name}", kind, shape, f"{weights:,}" if weights else "", trained
        if isinstance(layer, keras.Model):
            yield from _rows(layer, f"{indent}  ")
