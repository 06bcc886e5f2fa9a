"""Several frozen backbones in parallel, with one head on their concatenated features."""

from __future__ import annotations

from keras import KerasTensor, layers

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.build_backbone import build_backbone, freeze
from xray_hpc.models.custom_layers import BATCH_NORM_MOMENTUM
from xray_hpc.models.preprocessing import preprocess
from xray_hpc.models.registry import DropoutLayer, WeightsFiles


def build_features(
    config: ModelConfig, x: KerasTensor, weights: WeightsFiles, dropout: DropoutLayer
) -> KerasTensor:
    """Build each backbone with its own preprocessing, concatenate, and add 256 and 128 units.

    The backbones are frozen. DenseNet169 returns 1,664 features and MobileNetV2 1,280.
    """
    pooled = []
    for name in config.backbone_weights:
        scaled = preprocess(config, x, name)
        backbone = build_backbone(name, tuple(scaled.shape[1:]), weights.get(name))
        freeze(backbone, 0)
        pooled.append(layers.GlobalAveragePooling2D(name=f"{name}_pool")(backbone(scaled)))
    x = layers.Concatenate(name="together")(pooled)
    for number, units in enumerate((256, 128), start=1):
        x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"head{number}_bn")(x)
        x = layers.Dense(units, activation="relu", name=f"head{number}")(x)
        x = dropout(0.5, name=f"head{number}_dropout")(x)
    return x
