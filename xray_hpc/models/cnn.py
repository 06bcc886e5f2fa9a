"""A small convolutional network, trained from scratch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import keras
from keras import layers

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.layers import MOMENTUM
from xray_hpc.models.preprocessing import preprocess


def features(
    config: ModelConfig,
    x: keras.KerasTensor,
    weights: Mapping[str, Path],
    dropout: Callable[..., keras.Layer],
) -> keras.KerasTensor:
    """Three blocks of 16, 32 and 64 filters, 64 units.

    From raw pixels ``[N, H, W, C]`` of 0..255, scaled to 0..1, to ``[N, 64]``.

    The convolutions have no bias. BatchNormalization behind them takes any constant out again, so
    that a bias would be moved by rounding errors alone, and Adam takes a full step even for those:
    the same run on one device and on two would end with different weights. For the momentum see
    models.layers.
    """
    x = preprocess(config, x)
    for block, (filters, convolutions, rate) in enumerate(
        ((16, 1, 0.2), (32, 1, 0.2), (64, 2, 0.4)), start=1
    ):
        for number in range(1, convolutions + 1):
            name = f"block{block}_conv{number}"
            x = layers.Conv2D(filters, 3, use_bias=False, name=name)(x)
        x = layers.BatchNormalization(momentum=MOMENTUM, name=f"block{block}_bn")(x)
        x = layers.Activation("relu", name=f"block{block}_relu")(x)
        x = layers.MaxPool2D(name=f"block{block}_pool")(x)
        x = dropout(rate, name=f"block{block}_dropout")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(64, activation="relu", name="hidden")(x)
    return dropout(0.5, name="hidden_dropout")(x)
