"""Four blocks of convolution, batch normalization and pooling, and one wide hidden layer."""

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
    """Blocks of 32, 64, 128 and 128 filters of 3x3 pixels without padding, 512 units.

    From raw pixels ``[N, H, W, C]`` of 0..255 to ``[N, 512]``; at 150 px the last block leaves
    ``[N, 7, 7, 128]``. For the convolutions without bias see models.cnn.
    """
    x = preprocess(config, x)
    for block, filters in enumerate((32, 64, 128, 128), start=1):
        x = layers.Conv2D(filters, 3, use_bias=False, name=f"block{block}_conv")(x)
        x = layers.BatchNormalization(momentum=MOMENTUM, name=f"block{block}_bn")(x)
        x = layers.Activation("relu", name=f"block{block}_relu")(x)
        x = layers.MaxPool2D(name=f"block{block}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    return layers.Dense(512, activation="relu", name="hidden")(x)
