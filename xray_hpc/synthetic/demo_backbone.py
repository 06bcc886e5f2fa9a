"""The demo backbone: a small convolutional network pretrained on synthetic X-rays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras import layers

# Shipped with the package; written by ``python -m xray_hpc.synthetic.pretrain_backbone``.
WEIGHTS = Path(__file__).parent / "weights" / "demo.weights.h5"
FILTERS = (32, 64, 128)
MOMENTUM = 0.9  # of BatchNormalization, as in the models that train from scratch


def demo_backbone(input_shape: tuple[int, int, int], weights: Path | None) -> keras.Model:
    """Build a stem and three stages, each of which halves the image and adds a residual block.

    The model has 25 layers and 0.3 million weights. It takes ``[N, H, W, 1]`` in [-1, 1], with
    sides of 32 px or more, and returns ``[N, ceil(H/16), ceil(W/16), 128]``, non-negative.

    Args:
        input_shape: ``(height, width, channels)``.
        weights: a weights file of this network, or ``None`` for random weights.
    """
    inputs = layers.Input(input_shape, name="image")
    x = _relu(_convolution(inputs, 16, 2, "stem"), "stem")
    for number, filters in enumerate(FILTERS, start=1):
        stage = f"stage{number}"
        x = _relu(_convolution(x, filters, 2, f"{stage}_down"), f"{stage}_down")
        y = _convolution(x, filters, 1, f"{stage}_block")
        x = _relu(layers.Add(name=f"{stage}_add")([x, y]), stage)
    model = keras.Model(inputs, x, name="demo_backbone")
    if weights is not None:
        model.load_weights(weights)
    return model


def _convolution(x: Any, filters: int, stride: int, name: str) -> Any:
    x = layers.Conv2D(filters, 3, stride, "same", use_bias=False, name=f"{name}_conv")(x)
    return layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_bn")(x)


def _relu(x: Any, name: str) -> Any:
    return layers.Activation("relu", name=f"{name}_relu")(x)
