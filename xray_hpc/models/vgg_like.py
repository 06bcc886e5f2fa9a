"""A convolutional network modelled loosely on VGG16 (Simonyan and Zisserman, 2015)."""

from __future__ import annotations

from keras import KerasTensor, layers

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.custom_layers import BATCH_NORM_MOMENTUM
from xray_hpc.models.preprocessing import preprocess
from xray_hpc.models.registry import DropoutLayer, WeightsFiles

FILTERS = ((64, 64), (128,), (256,), (256,), (512,))
"""The filters of each convolution, block by block."""


def build_features(
    config: ModelConfig, x: KerasTensor, weights: WeightsFiles, dropout: DropoutLayer
) -> KerasTensor:
    """Build five blocks of 3x3 filters (see ``FILTERS``) and hidden layers of 256 and 128 units.

    Each block halves the image; at 150 px the last one returns ``[N, 4, 4, 512]``.
    BatchNormalization separates the blocks.

    The last convolution of a block has no bias if BatchNormalization follows its ReLU and pooling.
    Where all pooled outputs of a filter are positive (18 of the first 64 filters on bright images)
    the normalization cancels the bias, with the effect that ``cnn.build_features`` describes. The
    offset of the normalization replaces it.
    """
    x = preprocess(config, x)
    for block, filters in enumerate(FILTERS, start=1):
        if block > 1:
            x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"block{block}_bn")(x)
        for number, count in enumerate(filters, start=1):
            bias = number < len(filters) or block == len(FILTERS)
            name = f"block{block}_conv{number}"
            x = layers.Conv2D(
                count, 3, padding="same", activation="relu", use_bias=bias, name=name
            )(x)
        x = layers.MaxPool2D(name=f"block{block}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(256, activation="relu", name="hidden1")(x)
    x = layers.Dense(128, activation="relu", name="hidden2")(x)
    return dropout(0.2, name="hidden_dropout")(x)
