"""A pretrained backbone with a new head: frozen (``tl``) or with its last layers free (``ft``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import keras
from keras import layers

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.backbones import build_backbone, freeze
from xray_hpc.models.preprocessing import preprocess


def features(
    config: ModelConfig,
    x: keras.KerasTensor,
    weights: Mapping[str, Path],
    dropout: Callable[..., keras.Layer],
) -> keras.KerasTensor:
    """Preprocessing, backbone, average pooling, one hidden layer.

    From raw pixels ``[N, H, W, C]`` of 0..255 to ``[N, head_units]``. Of the backbone the last
    ``config.unfreeze`` layers train, none where that is ``None``; a frozen BatchNormalization
    layer keeps its statistics.
    """
    name = str(config.backbone)
    x = preprocess(config, x, name)
    backbone = build_backbone(name, tuple(x.shape[1:]), weights.get(name))
    freeze(backbone, config.unfreeze or 0)
    x = backbone(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(config.head_units, activation="relu", name="hidden")(x)
    return dropout(config.head_dropout or 0.0, name="hidden_dropout")(x)
