"""Read the graph of a Keras model: the inputs and outputs of its layers.

Keras has no public way but ``get_config``, which takes 0.3 s for a deep backbone. This module reads
``_inbound_nodes`` instead. Our models call each layer exactly once, so its first node is the call.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras

LOGITS = "logits"
"""The name of the last layer with weights, whose outputs the activation turns into scores."""


def input_names(layer: keras.Layer) -> list[str]:
    """Return the names of the layers whose outputs ``layer`` takes, without repetition."""
    parents = layer._inbound_nodes[0].parent_nodes
    return list(dict.fromkeys(parent.operation.name for parent in parents))


def input_tensor(layer: keras.Layer) -> keras.KerasTensor:
    """Return the input of ``layer`` in the graph of its model.

    For a nested model this is not ``layer.input``, which belongs to the nested model's own graph.
    """
    tensors: list[keras.KerasTensor] = layer._inbound_nodes[0].input_tensors
    (tensor,) = tensors
    return tensor


def output_tensor(layer: keras.Layer) -> keras.KerasTensor:
    """Return the output of ``layer`` in the graph of its model."""
    tensors: list[keras.KerasTensor] = layer._inbound_nodes[0].output_tensors
    (tensor,) = tensors
    return tensor


def logits_tensor(model: keras.Model) -> keras.KerasTensor:
    """Return the outputs of one of our models before its activation."""
    return output_tensor(model.get_layer(LOGITS))


def flat_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """Yield every layer of ``model``; nested models are replaced by their layers."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from flat_layers(layer)
        else:
            yield layer
