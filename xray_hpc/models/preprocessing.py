"""Preprocessing from raw pixels to a network's input: plain Keras layers inside each model."""

from __future__ import annotations

import keras
from keras import layers

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.registry import BACKBONES

# Mean and variance of ImageNet per channel (RGB, 0..1), as in torchvision and in Keras's "torch"
# mode.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_VARIANCE = (0.229**2, 0.224**2, 0.225**2)


def preprocess(
    config: ModelConfig, x: keras.KerasTensor, backbone: str | None = None
) -> keras.KerasTensor:
    """Scale raw pixels ``[N, H, W, C]`` in 0..255 as ``config.preprocessing`` says.

    With a ``backbone``, the scaling ``backbone`` is that of its pretraining, and the channels are
    converted to the number that it takes. The layers have the backbone's name as a prefix.
    """
    prefix = ""
    scaling: str = config.preprocessing
    if backbone is not None:
        prefix = f"{backbone}_"
        spec = BACKBONES[backbone]
        x = _convert_channels(x, spec.channels, prefix)
        scaling = spec.scaling if scaling == "backbone" else scaling
    return scale(x, scaling, f"{prefix}preprocessing")


def scale(x: keras.KerasTensor, scaling: str, name: str = "preprocessing") -> keras.KerasTensor:
    """Scale pixels ``[N, H, W, C]`` in 0..255, in float32 at any precision of the network.

    Args:
        x: the pixels.
        scaling: ``unit`` scales to [0, 1] and ``tf`` to [-1, 1]; ``torch`` normalizes by
            ImageNet's mean and standard deviation per channel; ``midrange`` scales each image by
            the middle of its own range, ``x / ((max + min) / 2) - 1`` (a black image becomes -1).
        name: the name of the layers.
    """
    if scaling == "midrange":
        return _midrange_model(x.shape[1:], name)(x)
    if scaling == "tf":
        return layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name=name)(x)
    x = layers.Rescaling(1 / 255, dtype="float32", name=name)(x)
    if scaling == "torch":
        x = layers.Normalization(
            mean=IMAGENET_MEAN,
            variance=IMAGENET_VARIANCE,
            dtype="float32",
            name=f"{name}_torch",
        )(x)
    return x


def _midrange_model(shape: tuple[int, int, int], name: str) -> keras.Model:
    """Return ``x / midrange - 1`` as one nested model."""
    ops = keras.ops
    inputs = layers.Input(shape, dtype="float32", name="pixels")
    high = ops.max(inputs, axis=(1, 2, 3), keepdims=True)
    low = ops.min(inputs, axis=(1, 2, 3), keepdims=True)
    middle = ops.maximum((high + low) / 2, keras.config.epsilon())
    return keras.Model(inputs, inputs / middle - 1, name=name)


def _convert_channels(x: keras.KerasTensor, channels: int, prefix: str) -> keras.KerasTensor:
    """Repeat a grey channel three times, or average three channels into grey."""
    present = x.shape[-1]
    if present == channels:
        return x
    if present == 1:
        return layers.Concatenate(dtype="float32", name=f"{prefix}grey_to_rgb")([x] * channels)
    kernel = keras.initializers.Constant(1 / present)
    mean = layers.Conv2D(
        1,
        1,
        use_bias=False,
        kernel_initializer=kernel,
        trainable=False,
        dtype="float32",
        name=f"{prefix}rgb_to_grey",
    )
    return mean(x)
