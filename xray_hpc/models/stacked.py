"""Several frozen backbones side by side under one head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import keras
from keras import layers

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.backbones import build_backbone, freeze
from xray_hpc.models.layers import MOMENTUM
from xray_hpc.models.preprocessing import preprocess
from xray_hpc.models.registry import backbones


def features(
    config: ModelConfig,
    x: keras.KerasTensor,
    weights: Mapping[str, Path],
    dropout: Callable[..., keras.Layer],
) -> keras.KerasTensor:
    """Each backbone on the same image, pooled; their features together, 256 and 128 units.

    From raw pixels ``[N, H, W, C]`` of 0..255 to ``[N, 128]``. Each backbone has its own
    preprocessing, and none of its layers trains. DenseNet169 gives 1,664 features and MobileNetV2
    1,280.
    """
    pooled = []
    for name in backbones(config):
        scaled = preprocess(config, x, name)
        backbone = build_backbone(name, tuple(scaled.shape[1:]), weights.get(name))
        freeze(backbone, 0)
        pooled.append(layers.GlobalAveragePooling2D(name=f"{name}_pool")(backbone(scaled)))
    x = layers.Concatenate(name="together")(pooled)
    for number, units in enumerate((256, 128), start=1):
        x = layers.BatchNormalization(momentum=MOMENTUM, name=f"head{number}_bn")(x)
        x = layers.Dense(units, activation="relu", name=f"head{number}")(x)
        x = dropout(0.5, name=f"head{number}_dropout")(x)
    return x
