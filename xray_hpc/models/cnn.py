"""A small convolutional network, trained from scratch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras import layers

from xray_hpc.config import ModelConfig


def build(
    config: ModelConfig,
    input_shape: tuple[int, int, int],
    weights: Path | None,
    dropout: Callable[[float], Any],
) -> keras.Model:
    """Three blocks of 16, 32 and 64 filters, 64 units, one sigmoid.

    Input ``[N, H, W, C]`` raw pixels 0..255, output ``[N, 1]`` the probability of class 1.

    The convolutions have no bias. BatchNormalization behind them takes any constant out again, so
    that a bias would be moved by rounding errors alone, and Adam takes a full step even for those:
    the same run on one device and on two would end with different weights.

    BatchNormalization averages over the last 10 batches or so. With Keras's default momentum of
    0.99 its statistics lag hundreds of batches behind the weights: the first epochs then call
    every image of the validation set positive, and early stopping keeps one of those.
    """
    inputs = layers.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 255, name="preprocessing")(inputs)
    for filters, convolutions, rate in ((16, 1, 0.2), (32, 1, 0.2), (64, 2, 0.4)):
        for _ in range(convolutions):
            x = layers.Conv2D(filters, 3, use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.Activation("relu")(x)
        x = layers.MaxPool2D()(x)
        x = dropout(rate)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(64, activation="relu")(x)
    x = dropout(0.5)(x)
    outputs = layers.Dense(1, activation="sigmoid", dtype="float32", name="score")(x)
    return keras.Model(inputs, outputs, name=config.name)
