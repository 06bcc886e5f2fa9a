"""Split a model at its last feature maps: images to maps, and maps to outputs."""

from __future__ import annotations

from typing import NamedTuple

import keras

from xray_hpc.errors import DataError

PASSED_THROUGH = (
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
)
"""Layers whose input is taken instead of their output: they learn nothing, and pooling halves the
resolution."""


class SplitModel(NamedTuple):
    """The two parts of a model, which share their layers with it.

    Attributes:
        extractor: from images ``[N, H, W, C]`` to a list of feature maps ``[N, h, w, F]``, one for
            each branch.
        head: from that list to the outputs ``[N, K]``.
    """

    extractor: keras.Model
    head: keras.Model


class _BackboneCall(NamedTuple):
    """A nested model that returns vectors, and the tensors of its call in the outer graph."""

    backbone: keras.Model
    image: keras.KerasTensor
    vector: keras.KerasTensor


def split_at_maps(model: keras.Model, outputs: keras.KerasTensor) -> SplitModel:
    """Split ``model`` at the last feature maps before ``outputs``, a tensor of its graph.

    The graph is followed from the outputs towards the images; on every path, the feature maps are
    the first tensor with rows and columns. Of a backbone (a nested model) these are its outputs; a
    backbone that pools them itself is split in turn. Branches, as of stacked backbones, have their
    own maps.

    Raises:
        DataError: no convolution lies before the outputs.
    """
    maps, calls = _last_maps(outputs)
    parts = [split_at_maps(call.backbone, call.backbone.outputs[0]) for call in calls]
    inner_maps = [part.extractor([call.image]) for part, call in zip(parts, calls, strict=True)]
    all_maps = [*maps, *keras.tree.flatten(inner_maps)]
    extractor = keras.Model(model.inputs, all_maps)
    if not any(len(weight.shape) == 4 for weight in extractor.weights):
        raise DataError(f"the model '{model.name}' has no convolution that Grad-CAM could use")
    if not calls:
        return SplitModel(extractor, keras.Model(maps, outputs))
    inputs = [keras.Input(tensor.shape[1:], dtype=tensor.dtype) for tensor in all_maps]
    remaining = iter(inputs[len(maps) :])
    vectors = [part.head([next(remaining) for _ in part.head.inputs]) for part in parts]
    rest = keras.Model([*maps, *(call.vector for call in calls)], outputs)
    return SplitModel(extractor, keras.Model(inputs, rest([*inputs[: len(maps)], *vectors])))


def _last_maps(
    outputs: keras.KerasTensor,
) -> tuple[list[keras.KerasTensor], list[_BackboneCall]]:
    """Return the last tensors with rows and columns, and backbones met that return none."""
    maps: dict[int, keras.KerasTensor] = {}
    calls: dict[int, _BackboneCall] = {}
    pending = [outputs]
    while pending:
        tensor = pending.pop()
        layer, inputs = _origin(tensor)
        if _has_rows(tensor):
            while isinstance(layer, PASSED_THROUGH):
                (tensor,) = inputs
                layer, inputs = _origin(tensor)
            maps[id(tensor)] = tensor
        elif isinstance(layer, keras.Model):
            (image,) = inputs
            calls[id(tensor)] = _BackboneCall(layer, image, tensor)
        else:
            pending += reversed(inputs)
    return list(maps.values()), list(calls.values())


def _origin(tensor: keras.KerasTensor) -> tuple[keras.Layer, list[keras.KerasTensor]]:
    """Return the layer that a tensor comes from, and the inputs of that call of the layer."""
    layer, call, _ = tensor._keras_history
    return layer, layer._inbound_nodes[call].input_tensors


def _has_rows(tensor: keras.KerasTensor) -> bool:
    """Return whether a tensor is ``[N, h, w, F]`` and not a vector kept as ``[N, 1, 1, F]``."""
    return len(tensor.shape) == 4 and tuple(tensor.shape[1:3]) != (1, 1)
