"""Two small convolutions for large images, without a hidden layer."""

from __future__ import annotations

from keras import KerasTensor, layers

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.preprocessing import preprocess
from xray_hpc.models.registry import DropoutLayer, WeightsFiles


def build_features(
    config: ModelConfig, x: KerasTensor, weights: WeightsFiles, dropout: DropoutLayer
) -> KerasTensor:
    """Build two convolutions of 4 filters (5x5, then 3x3), each followed by pooling (3, then 2).

    For grey images of 512 px the features are ``[N, 27556]``; with the output layer for three
    classes the network has 82,923 weights.
    """
    x = preprocess(config, x)
    for number, (kernel_size, pool_size) in enumerate(((5, 3), (3, 2)), start=1):
        x = layers.Conv2D(4, kernel_size, activation="relu", name=f"conv{number}")(x)
        x = layers.MaxPool2D(pool_size, name=f"pool{number}")(x)
    return layers.Flatten(name="flatten")(x)
