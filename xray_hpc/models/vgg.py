"""A convolutional network loosely after VGG16 (Simonyan and Zisserman, 2015)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import keras
from keras import layers

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.layers import MOMENTUM
from xray_hpc.models.preprocessing import preprocess

FILTERS = ((64, 64), (128,), (256,), (256,), (512,))


def features(
    config: ModelConfig,
    x: keras.KerasTensor,
    weights: Mapping[str, Path],
    dropout: Callable[..., keras.Layer],
) -> keras.KerasTensor:
    """Five blocks of 64-64, 128, 256, 256 and 512 filters of 3x3 pixels, 256 and 128 units.

    From raw pixels ``[N, H, W, C]`` of 0..255 to ``[N, 128]``. Each block halves the image; at
    150 px the last one leaves ``[N, 4, 4, 512]``. BatchNormalization stands between the blocks.

    The convolution that ends a block has no bias where BatchNormalization follows its ReLU and
    pooling: of a filter whose pooled outputs are all positive (18 of the first 64 on bright
    images) that takes the bias out again; see models.cnn. The normalization's own offset does its
    work.
    """
    x = preprocess(config, x)
    for block, filters in enumerate(FILTERS, start=1):
        if block > 1:
            x = layers.BatchNormalization(momentum=MOMENTUM, name=f"block{block}_bn")(x)
        for number, count in enumerate(filters, start=1):
            x = layers.Conv2D(
                count,
                3,
                padding="same",
                activation="relu",
                use_bias=number < len(filters) or block == len(FILTERS),
                name=f"block{block}_conv{number}",
            )(x)
        x = layers.MaxPool2D(name=f"block{block}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(256, activation="relu", name="hidden1")(x)
    x = layers.Dense(128, activation="relu", name="hidden2")(x)
    return dropout(0.2, name="hidden_dropout")(x)
