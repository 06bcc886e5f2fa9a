"""A pretrained backbone with a new head: frozen (``tl``) or partly trained (``ft``)."""

from __future__ import annotations

from keras import KerasTensor, layers

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.build_backbone import build_backbone, freeze
from xray_hpc.models.preprocessing import preprocess
from xray_hpc.models.registry import DropoutLayer, WeightsFiles


def build_features(
    config: ModelConfig, x: KerasTensor, weights: WeightsFiles, dropout: DropoutLayer
) -> KerasTensor:
    """Build preprocessing, backbone, average pooling and one hidden layer.

    The last ``config.unfreeze`` layers of the backbone are trained (None: no layer). Frozen
    BatchNormalization layers keep their statistics.
    """
    name = str(config.backbone)
    x = preprocess(config, x, name)
    backbone = build_backbone(name, tuple(x.shape[1:]), weights.get(name))
    freeze(backbone, config.unfreeze or 0)
    x = layers.GlobalAveragePooling2D(name="pool")(backbone(x))
    x = layers.Dense(config.head_units, activation="relu", name="hidden")(x)
    return dropout(config.head_dropout or 0.0, name="hidden_dropout")(x)
