"""The models and backbones that can be chosen, and what each needs.

A launch checks configurations against these tables on the login node, so nothing here imports
TensorFlow; the networks are in the sibling modules.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from xray_hpc.config.run_config import ModelConfig

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor


@dataclass(frozen=True)
class BackboneSpec:
    """A network without its classification layers.

    Attributes:
        layers: ``len(keras_model.layers)``, including the input layer.
        scaling: the pixel range that its weights were trained on: ``tf`` is [-1, 1], ``torch`` is
            ImageNet's mean and standard deviation per channel.
        md5: the checksum of the published weights, or None if Keras publishes none.
        weights: the name of its pretrained weights.
        file_suffix: the end of the name of the published weights, without ``.h5``.
        minimum: the smallest image side in pixels.
    """

    layers: int
    parameters: int
    scaling: Literal["tf", "torch"]
    md5: str | None = None
    weights: Literal["imagenet", "demo"] = "imagenet"
    file_suffix: str = "notop"
    minimum: int = 32
    channels: int = 3


BACKBONES = {
    "demo": BackboneSpec(25, 292_304, "tf", weights="demo", channels=1),
    "densenet121": BackboneSpec(427, 7_037_504, "torch", "30ee3e1110167f948a6b9946edeeb738"),
    "densenet169": BackboneSpec(595, 12_642_880, "torch", "b8c4d4c20dd625c148057b9ff1c1176b"),
    "densenet201": BackboneSpec(707, 18_321_984, "torch", "c13680b51ded0fb44dff2d8f86ac8bb1"),
    "mobilenet_v2": BackboneSpec(154, 2_257_984, "tf", file_suffix="1.0_224_no_top"),
    "resnet50v2": BackboneSpec(190, 23_564_800, "tf", "fac2f116257151a9d068a22e544a4917"),
    "resnet101v2": BackboneSpec(377, 42_626_560, "tf", "c0ed64b8031c3730f411d2eb4eea35b5"),
    "resnet152v2": BackboneSpec(564, 58_331_648, "tf", "ed17cf2e0169df9d443503ef94b23b33"),
}

WeightsFiles: TypeAlias = Mapping[str, Path]
DropoutLayer: TypeAlias = "Callable[..., keras.Layer]"


class FeatureBuilder(Protocol):
    """The function ``build_features`` of each model's module."""

    def __call__(
        self, config: ModelConfig, x: KerasTensor, weights: WeightsFiles, dropout: DropoutLayer
    ) -> KerasTensor:
        """Return features ``[N, F]`` of raw pixels ``x`` ``[N, H, W, C]`` in 0..255.

        Backbones that are missing in ``weights`` start from random weights; ``dropout`` is the
        class of the dropout layers.
        """


@dataclass(frozen=True)
class ModelSpec:
    """A kind of model.

    Attributes:
        title: its name in figures.
        module: the module with its ``build_features``.
        uses: the keys of ``ModelConfig`` that it uses besides ``COMMON_KEYS``.
        minimum: the smallest image side in pixels, apart from what its backbones need.
    """

    title: str
    module: str
    uses: frozenset[str] = frozenset()
    minimum: int = 1

    def load_builder(self) -> FeatureBuilder:
        """Import the module (and with it TensorFlow) and return its ``build_features``."""
        builder: FeatureBuilder = importlib.import_module(self.module).build_features
        return builder


COMMON_KEYS = frozenset({"name", "preprocessing", "output"})
"""The keys of ``ModelConfig`` that every model uses."""

_TRANSFER = frozenset({"backbone", "weights", "head_units", "head_dropout"})

MODELS = {
    "cnn": ModelSpec("CNN", "xray_hpc.models.cnn", minimum=30),
    "tl": ModelSpec("Transfer learning", "xray_hpc.models.transfer", _TRANSFER),
    "ft": ModelSpec("Fine-tuning", "xray_hpc.models.transfer", _TRANSFER | {"unfreeze"}),
    "stacked": ModelSpec(
        "Stacked backbones", "xray_hpc.models.stacked_backbones", frozenset({"backbones"})
    ),
    "conv": ModelSpec("Four-block CNN", "xray_hpc.models.four_block_cnn", minimum=46),
    "lung": ModelSpec("Two-convolution CNN", "xray_hpc.models.two_conv_cnn", minimum=16),
    "vgg": ModelSpec("VGG-like CNN", "xray_hpc.models.vgg_like", minimum=32),
}
