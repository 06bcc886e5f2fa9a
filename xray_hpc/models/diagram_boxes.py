"""The boxes of a model's diagram: which layers share a box, its texts, and its position."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import keras

from xray_hpc.models.layer_graph import input_names
from xray_hpc.models.model_summary import count_trainable

# Inches.
WIDTH, GAP, LINE, PADDING = 3.6, 0.3, 0.17, 0.1
LETTERS = 62  # per line of a box
TIMES = " \N{MULTIPLICATION SIGN} "

# Layers that are drawn into the box of the layer before them.
FOLLOWERS = (
    *("Activation", "BatchNormalization", "Dropout", "Flatten", "GlobalAveragePooling2D"),
    *("GlobalBatchDropout", "MaxPooling2D", "Normalization", "ReLU", "Rescaling"),
)

PLAIN_TEXTS = {
    "BatchNormalization": "batch normalization",
    "Flatten": "flattened",
    "GlobalAveragePooling2D": "global average pooling",
    "InputLayer": "X-ray, pixels 0 to 255",
    "Normalization": "ImageNet's mean and deviation",
}


@dataclass
class Box:
    """Layers that are drawn together: the first one is the title, the others are details."""

    title: str
    sources: list[Box]
    layers: list[keras.Layer] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    targets: list[Box] = field(default_factory=list)

    @property
    def level(self) -> int:
        """The row of the box, counted from the image."""
        return 1 + max((source.level for source in self.sources), default=-1)

    @property
    def x(self) -> float:
        """The horizontal center in inches from the middle: below its source, or beside others."""
        if not self.sources:
            return 0.0
        if len(self.sources) > 1:
            return sum(source.x for source in self.sources) / len(self.sources)
        siblings = self.sources[0].targets
        offset = [box is self for box in siblings].index(True) - (len(siblings) - 1) / 2
        return self.sources[0].x + offset * (WIDTH + GAP)

    @property
    def training(self) -> Literal["none", "trained", "partly", "frozen"]:
        """Whether the weights are trained; ``none`` if there are none."""
        if not any(layer.count_params() for layer in self.layers):
            return "none"
        if not any(map(count_trainable, self.layers)):
            return "frozen"
        partly = any(layer.count_params() and not _all_trainable(layer) for layer in self.layers)
        return "partly" if partly else "trained"

    @property
    def weights_text(self) -> str:
        """The number of weights, and whether they are trained; empty if there are none."""
        if self.training == "none":
            return ""
        trained = f"{sum(map(count_trainable, self.layers)):,} of them trained"
        total = sum(layer.count_params() for layer in self.layers)
        return f"{total:,} weights, {trained if self.training == 'partly' else self.training}"

    @property
    def lines(self) -> list[str]:
        """The details, wrapped to the width of the box."""
        text = " · ".join(item.replace(" ", "\xa0") for item in self.details)
        return [line.strip(" ·") for line in textwrap.wrap(text, LETTERS)]

    @property
    def height(self) -> float:
        """The height in inches."""
        return 2 * PADDING + LINE * (1 + len(self.lines) + bool(self.weights_text))


def make_boxes(model: keras.Model) -> list[Box]:
    """Group the layers of ``model`` into boxes, in their order."""
    consumed = [name for layer in model.layers for name in input_names(layer)]
    boxes: list[Box] = []
    box_of: dict[str, Box] = {}
    for layer in model.layers:
        inputs = input_names(layer)
        box = box_of[inputs[0]] if inputs else None
        follows = type(layer).__name__ in FOLLOWERS or layer.name.endswith("preprocessing")
        if follows and box and box.sources and consumed.count(inputs[0]) == 1:
            box.details.append(describe_layer(layer))
        else:
            box = Box(describe_layer(layer, inputs), [box_of[name] for name in inputs])
            box.details.extend(_backbone_details(layer))
            for source in box.sources:
                source.targets.append(box)
            boxes.append(box)
        box.layers.append(layer)
        box_of[layer.name] = box
    return boxes


def describe_layer(layer: keras.Layer, inputs: list[str] | None = None) -> str:
    """Return a short description of a layer: ``"convolution 3 x 3, 16 filters, ReLU"``."""
    kind = type(layer).__name__
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
        return "grey to RGB" if inputs and len(inputs) == 1 else "concatenated"
    if layer.name.endswith("preprocessing"):
        return "scaled by the image's mid-range"
    if isinstance(layer, keras.Model):
        return str(layer.name)
    return PLAIN_TEXTS.get(kind, kind)


def _activation(layer: keras.Layer) -> str:
    name = getattr(layer.activation, "__name__", "linear")
    return "" if name == "linear" else f", {'ReLU' if name == 'relu' else name}"


def _backbone_details(layer: keras.Layer) -> Iterator[str]:
    """Yield the number of layers of a backbone, and how many of the last ones are trained."""
    if isinstance(layer, keras.Model) and layer.count_params():
        trained = sum(inner.trainable for inner in layer.layers)
        yield f"{len(layer.layers)} layers" + (f", the last {trained} trained" if trained else "")


def _all_trainable(layer: keras.Layer) -> bool:
    if isinstance(layer, keras.Model):
        return all(_all_trainable(inner) for inner in layer.layers)
    return bool(layer.trainable)
