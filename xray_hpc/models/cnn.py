"""A small convolutional network that is trained from scratch."""

from __future__ import annotations

from keras import KerasTensor, layers

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.custom_layers import BATCH_NORM_MOMENTUM
from xray_hpc.models.preprocessing import preprocess
from xray_hpc.models.registry import DropoutLayer, WeightsFiles


def build_features(
    config: ModelConfig, x: KerasTensor, weights: WeightsFiles, dropout: DropoutLayer
) -> KerasTensor:
    """Build three blocks of 16, 32 and 64 filters and a hidden layer of 64 units.

    The convolutions have no bias. The BatchNormalization after them would cancel it, so that its
    gradient would be rounding error, which Adam still turns into full steps: the same run would
    get different weights on one device and on two.
    """
    x = preprocess(config, x)
    for block, (filters, convolutions, rate) in enumerate(
        ((16, 1, 0.2), (32, 1, 0.2), (64, 2, 0.4)), start=1
    ):
        for number in range(1, convolutions + 1):
            name = f"block{block}_conv{number}"
            x = layers.Conv2D(filters, 3, use_bias=False, name=name)(x)
        x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"block{block}_bn")(x)
        x = layers.Activation("relu", name=f"block{block}_relu")(x)
        x = layers.MaxPool2D(name=f"block{block}_pool")(x)
        x = dropout(rate, name=f"block{block}_dropout")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(64, activation="relu", name="hidden")(x)
    return dropout(0.5, name="hidden_dropout")(x)
