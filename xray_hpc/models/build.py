"""Building the Keras model that a configuration describes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import keras

from xray_hpc.config import ModelConfig
from xray_hpc.models.layers import GlobalBatchDropout
from xray_hpc.models.registry import MODELS


def build_model(
    config: ModelConfig,
    input_shape: tuple[int, int, int],
    weights: Path | None,
    *,
    replicas: int = 1,
) -> keras.Model:
    """Build a settled and checked model; see the model's own module for its shapes.

    For several replicas Dropout and BatchNormalization work on the global batch, so that their
    number does not change the result (call it inside the strategy's scope).
    """
    dropout = keras.layers.Dropout if replicas == 1 else GlobalBatchDropout
    module = importlib.import_module(MODELS[config.name].module)
    model: keras.Model = module.build(config, input_shape, weights, dropout)
    for layer in flat_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = replicas > 1
    return model


def flat_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """Every layer of ``model``, those of nested models too."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from flat_layers(layer)
        else:
            yield layer
