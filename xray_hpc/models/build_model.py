"""Building the Keras model that a configuration describes."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

import keras
from keras import layers

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.layer_graph import flat_layers
from xray_hpc.models.layers import GlobalBatchDropout
from xray_hpc.models.registry import MODELS, output


def build_model(
    config: ModelConfig,
    input_shape: tuple[int, int, int],
    classes: int,
    weights: Mapping[str, Path] | None = None,
    *,
    replicas: int = 1,
) -> keras.Model:
    """Build a settled and checked model, its preprocessing inside.

    Input ``[N, H, W, C]`` raw pixels 0..255. Output in float32: ``[N, 1]`` the probability of the
    second of two classes where ``registry.output`` says sigmoid, else ``[N, classes]``
    probabilities. ``weights`` are the files that backbones start from (``registry.weights_files``);
    one without starts from random weights.

    For several replicas Dropout and BatchNormalization work on the global batch, so that their
    number does not change the result (call it inside the strategy's scope).
    """
    dropout = layers.Dropout if replicas == 1 else GlobalBatchDropout
    module = importlib.import_module(MODELS[config.name].module)
    inputs = layers.Input(input_shape, name="image")
    x = module.features(config, inputs, weights or {}, dropout)
    kind = output(config, classes)
    units = 1 if kind == "sigmoid" else classes
    outputs = layers.Dense(units, activation=kind, dtype="float32", name="score")(x)
    model = keras.Model(inputs, outputs, name=config.name)
    for layer in flat_layers(model):
        if isinstance(layer, layers.BatchNormalization):
            layer.synchronized = replicas > 1
    return model
