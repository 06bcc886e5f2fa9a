"""The graph of a Keras model.

Keras tells it in public only through ``get_config``, which takes a third of a second of a deep
backbone, once for each model around it. A layer of ours is called once as its model is built; that
call is its first node.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras


def sources(layer: keras.Layer) -> list[str]:
    """The names of the layers that ``layer`` takes its inputs from, each once."""
    parents = layer._inbound_nodes[0].parent_nodes
    return list(dict.fromkeys(parent.operation.name for parent in parents))


def given(layer: keras.Layer) -> keras.KerasTensor:
    """What ``layer`` takes, of its model's graph: a nested model's own input is another."""
    (tensor,) = layer._inbound_nodes[0].input_tensors
    return tensor


def taken(layer: keras.Layer) -> keras.KerasTensor:
    """What ``layer`` gives, of its model's graph."""
    (tensor,) = layer._inbound_nodes[0].output_tensors
    return tensor


def flat_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """Every layer of ``model``, those of nested models too."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from flat_layers(layer)
        else:
            yield layer
