"""Four blocks of convolution, batch normalization and pooling, then one wide hidden layer."""

from __future__ import annotations

from keras import KerasTensor, layers

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.custom_layers import BATCH_NORM_MOMENTUM
from xray_hpc.models.preprocessing import preprocess
from xray_hpc.models.registry import DropoutLayer, WeightsFiles


def build_features(
    config: ModelConfig, x: KerasTensor, weights: WeightsFiles, dropout: DropoutLayer
) -> KerasTensor:
    """Build blocks of 32, 64, 128 and 128 unpadded 3x3 filters and a hidden layer of 512 units.

    At 150 px the last block returns ``[N, 7, 7, 128]``. ``cnn.build_features`` explains why the
    convolutions have no bias.
    """
    x = preprocess(config, x)
    for block, filters in enumerate((32, 64, 128, 128), start=1):
        x = layers.Conv2D(filters, 3, use_bias=False, name=f"block{block}_conv")(x)
        x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"block{block}_bn")(x)
        x = layers.Activation("relu", name=f"block{block}_relu")(x)
        x = layers.MaxPool2D(name=f"block{block}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    return layers.Dense(512, activation="relu", name="hidden")(x)
