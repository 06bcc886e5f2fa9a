"""Preprocessing from raw pixels to a network's input: plain Keras layers inside each model."""

from __future__ import annotations

import keras
from keras import KerasTensor, layers

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.registry import BACKBONES

# Per channel (RGB, 0..1), as in torchvision and in Keras's "torch" mode.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_VARIANCE = (0.229**2, 0.224**2, 0.225**2)


def preprocess(config: ModelConfig, x: KerasTensor, backbone: str | None = None) -> KerasTensor:
    """Scale raw pixels ``[N, H, W, C]`` in 0..255 as ``config.preprocessing`` says.

    With a ``backbone``, the scaling ``backbone`` is that of its pretraining, and the channels are
    converted to the number that it takes. The layers have the backbone's name as a prefix.
    """
    scaling: str = config.preprocessing
    if backbone is None:
        return scale(x, scaling)
    spec = BACKBONES[backbone]
    x = _convert_channels(x, spec.channels, f"{backbone}_")
    scaling = spec.scaling if scaling == "backbone" else scaling
    return scale(x, scaling, f"{backbone}_preprocessing")


def scale(x: KerasTensor, scaling: str, name: str = "preprocessing") -> KerasTensor:
    """Scale pixels ``[N, H, W, C]`` in 0..255, in float32 at any precision of the network.

    Args:
        scaling: ``unit`` scales to [0, 1] and ``tf`` to [-1, 1]; ``torch`` normalizes by
            ImageNet's mean and standard deviation per channel; ``midrange`` scales each image by
            the middle of its own range, ``x / ((max + min) / 2) - 1`` (a black image becomes -1).
    """
    if scaling == "midrange":
        return _midrange_model(x.shape[1:], name)(x)
    if scaling == "tf":
        return layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name=name)(x)
    x = layers.Rescaling(1 / 255, dtype="float32", name=name)(x)
    if scaling == "torch":
        mean, variance = IMAGENET_MEAN, IMAGENET_VARIANCE
        x = layers.Normalization(-1, mean, variance, dtype="float32", name=f"{name}_torch")(x)
    return x


def _midrange_model(shape: tuple[int, int, int], name: str) -> keras.Model:
    """Return ``x / midrange - 1`` as one nested model."""
    ops = keras.ops
    inputs = layers.Input(shape, dtype="float32", name="pixels")
    high = ops.max(inputs, axis=(1, 2, 3), keepdims=True)
    low = ops.min(inputs, axis=(1, 2, 3), keepdims=True)
    middle = ops.maximum((high + low) / 2, keras.config.epsilon())
    return keras.Model(inputs, inputs / middle - 1, name=name)


def _convert_channels(x: KerasTensor, channels: int, prefix: str) -> KerasTensor:
    """Repeat a grey channel three times, or average three channels into grey."""
    present = x.shape[-1]
    if present == channels:
        return x
    if present == 1:
        return layers.Concatenate(dtype="float32", name=f"{prefix}grey_to_rgb")([x] * channels)
    kernel = keras.initializers.Constant(1 / present)
    options = {"use_bias": False, "kernel_initializer": kernel, "trainable": False}
    return layers.Conv2D(1, 1, dtype="float32", name=f"{prefix}rgb_to_grey", **options)(x)
