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
        parameters: the number of its weights.
        scaling: the pixel range that its weights were trained on: ``tf`` is [-1, 1], ``torch`` is
            ImageNet's mean and standard deviation per channel.
        weights: the name of its pretrained weights.
        file: the file of the published weights.
        md5: its MD5 checksum, or None if Keras publishes none.
        minimum: the smallest image side in pixels.
        channels: the number of image channels.
    """

    layers: int
    parameters: int
    scaling: Literal["tf", "torch"]
    weights: Literal["imagenet", "demo"] = "imagenet"
    file: str = ""
    md5: str | None = None
    minimum: int = 32
    channels: int = 3


_KERNELS = "weights_tf_dim_ordering_tf_kernels"

BACKBONES = {
    "demo": BackboneSpec(layers=25, parameters=292_304, scaling="tf", weights="demo", channels=1),
    "densenet121": BackboneSpec(
        layers=427,
        parameters=7_037_504,
        scaling="torch",
        file=f"densenet121_{_KERNELS}_notop.h5",
        md5="30ee3e1110167f948a6b9946edeeb738",
    ),
    "densenet169": BackboneSpec(
        layers=595,
        parameters=12_642_880,
        scaling="torch",
        file=f"densenet169_{_KERNELS}_notop.h5",
        md5="b8c4d4c20dd625c148057b9ff1c1176b",
    ),
    "densenet201": BackboneSpec(
        layers=707,
        parameters=18_321_984,
        scaling="torch",
        file=f"densenet201_{_KERNELS}_notop.h5",
        md5="c13680b51ded0fb44dff2d8f86ac8bb1",
    ),
    "mobilenet_v2": BackboneSpec(
        layers=154,
        parameters=2_257_984,
        scaling="tf",
        file=f"mobilenet_v2_{_KERNELS}_1.0_224_no_top.h5",
    ),
    "resnet50v2": BackboneSpec(
        layers=190,
        parameters=23_564_800,
        scaling="tf",
        file=f"resnet50v2_{_KERNELS}_notop.h5",
        md5="fac2f116257151a9d068a22e544a4917",
    ),
    "resnet101v2": BackboneSpec(
        layers=377,
        parameters=42_626_560,
        scaling="tf",
        file=f"resnet101v2_{_KERNELS}_notop.h5",
        md5="c0ed64b8031c3730f411d2eb4eea35b5",
    ),
    "resnet152v2": BackboneSpec(
        layers=564,
        parameters=58_331_648,
        scaling="tf",
        file=f"resnet152v2_{_KERNELS}_notop.h5",
        md5="ed17cf2e0169df9d443503ef94b23b33",
    ),
}


WeightsFiles: TypeAlias = Mapping[str, Path]
DropoutLayer: TypeAlias = "Callable[..., keras.Layer]"


class FeatureBuilder(Protocol):
    """The function ``build_features`` of each model's module."""

    def __call__(
        self, config: ModelConfig, x: KerasTensor, weights: WeightsFiles, dropout: DropoutLayer
    ) -> KerasTensor:
        """Build a network up to the features that the output layer takes.

        Args:
            config: the resolved model configuration.
            x: raw pixels ``[N, H, W, C]`` in 0..255.
            weights: the weights files of its backbones; a backbone that is missing here starts
                from random weights.
            dropout: the class of its dropout layers.

        Returns:
            Features ``[N, F]``.
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
    "stacked": ModelSpec("Stacked backbones", "xray_hpc.models.stacked", frozenset({"backbones"})),
    "conv": ModelSpec("Four-block CNN", "xray_hpc.models.conv", minimum=46),
    "lung": ModelSpec("Two-convolution CNN", "xray_hpc.models.lung", minimum=16),
    "vgg": ModelSpec("VGG-like CNN", "xray_hpc.models.vgg", minimum=32),
}
