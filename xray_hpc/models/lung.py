"""Two small convolutions on large images, and nothing between them and the scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import keras
from keras import layers

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.preprocessing import preprocess


def features(
    config: ModelConfig,
    x: keras.KerasTensor,
    weights: Mapping[str, Path],
    dropout: Callable[..., keras.Layer],
) -> keras.KerasTensor:
    """Two convolutions of 4 filters, 5x5 and 3x3 pixels, pooled by 3 and by 2.

    From raw pixels ``[N, H, W, C]`` of 0..255, scaled to 0..1, to ``[N, 4 h w]``; at 512 px
    ``[N, 27556]``, so that three scores of one grey image take 82,923 weights.
    """
    x = preprocess(config, x)
    for number, (side, stride) in enumerate(((5, 3), (3, 2)), start=1):
        x = layers.Conv2D(4, side, activation="relu", name=f"conv{number}")(x)
        x = layers.MaxPool2D(stride, name=f"pool{number}")(x)
    return layers.Flatten(name="flatten")(x)
