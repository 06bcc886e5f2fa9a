"""A pretrained backbone with a new head: frozen (``tl``) or with its last layers free (``ft``)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras import layers

from xray_hpc.config import ModelConfig
from xray_hpc.errors import UserError
from xray_hpc.models.demo_backbone import demo_backbone
from xray_hpc.models.registry import BACKBONES

# ImageNet's mean and variance a channel (RGB, 0..1), as torchvision and Keras's "torch" mode
# have them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_VARIANCE = (0.229**2, 0.224**2, 0.225**2)

APPLICATIONS = {
    "densenet121": keras.applications.DenseNet121,
    "densenet169": keras.applications.DenseNet169,
    "densenet201": keras.applications.DenseNet201,
    "mobilenet_v2": keras.applications.MobileNetV2,
    "resnet50v2": keras.applications.ResNet50V2,
    "resnet101v2": keras.applications.ResNet101V2,
    "resnet152v2": keras.applications.ResNet152V2,
}


def build(
    config: ModelConfig,
    input_shape: tuple[int, int, int],
    weights: Path | None,
    dropout: Callable[[float], Any],
) -> keras.Model:
    """Preprocessing, backbone, average pooling, one hidden layer, one sigmoid.

    Input ``[N, H, W, C]`` raw pixels 0..255, output ``[N, 1]`` the probability of class 1. Of the
    backbone the last ``config.unfreeze`` layers train, none where that is ``None``; a frozen
    BatchNormalization layer keeps its statistics.
    """
    inputs = layers.Input(input_shape, name="image")
    x = _channels(inputs, BACKBONES[str(config.backbone)].channels)
    x = _preprocess(x, "unit" if config.preprocessing == "unit" else _scaling(config))
    backbone = build_backbone(str(config.backbone), tuple(x.shape[1:]), weights)
    freeze(backbone, config.unfreeze or 0)
    x = backbone(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(config.head_units, activation="relu", name="hidden")(x)
    x = dropout(config.head_dropout or 0.0)(x)
    outputs = layers.Dense(1, activation="sigmoid", dtype="float32", name="score")(x)
    return keras.Model(inputs, outputs, name=config.name)


def build_backbone(
    name: str, input_shape: tuple[int, int, int], weights: Path | None
) -> keras.Model:
    """The backbone without its top, its weights read from a file, or random ones.

    Raises:
        UserError: the file does not hold the weights of this backbone.
    """
    if name == "demo":
        backbone = demo_backbone(input_shape, None)
    else:
        backbone = APPLICATIONS[name](include_top=False, weights=None, input_shape=input_shape)
        backbone.name = name
    if weights is not None:
        try:
            with warnings.catch_warnings():
                # Keras only warns of layers that it finds no weights for.
                warnings.simplefilter("error", UserWarning)
                backbone.load_weights(weights)
        except (ValueError, KeyError, OSError, UserWarning) as error:
            why = " ".join(str(error).split())[:200]
            raise UserError(f"{weights} does not hold the weights of {name} ({why})") from error
    return backbone


def freeze(backbone: keras.Model, unfreeze: int) -> None:
    """Let the last ``unfreeze`` layers of ``backbone`` train, and none before them."""
    backbone.trainable = True
    for layer in backbone.layers[: len(backbone.layers) - unfreeze]:
        layer.trainable = False


def _scaling(config: ModelConfig) -> str:
    return BACKBONES[str(config.backbone)].scaling


def _channels(x: Any, wanted: int) -> Any:
    """Repeat grey images over three channels, or average three into grey, as the backbone asks."""
    given = x.shape[-1]
    if given == wanted:
        return x
    if given == 1:
        return layers.Concatenate(name="grey_to_rgb")([x] * wanted)
    kernel = keras.initializers.Constant(1 / given)
    grey = layers.Conv2D(1, 1, use_bias=False, kernel_initializer=kernel, name="rgb_to_grey")
    grey.trainable = False
    return grey(x)


def _preprocess(x: Any, scaling: str) -> Any:
    if scaling == "tf":
        return layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocessing")(x)
    x = layers.Rescaling(1 / 255, name="preprocessing")(x)
    if scaling == "torch":
        x = layers.Normalization(
            mean=IMAGENET_MEAN, variance=IMAGENET_VARIANCE, name="normalization"
        )(x)
    return x
