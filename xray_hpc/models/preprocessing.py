"""Raw pixels to what a network is fed: part of each model, of plain Keras layers and operations."""

from __future__ import annotations

import keras
from keras import layers

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.registry import BACKBONES

# ImageNet's mean and variance a channel (RGB, 0..1), as torchvision and Keras's "torch" mode
# have them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_VARIANCE = (0.229**2, 0.224**2, 0.225**2)


def preprocess(
    config: ModelConfig, x: keras.KerasTensor, backbone: str | None = None
) -> keras.KerasTensor:
    """Scale raw pixels ``[N, H, W, C]`` of 0..255 as ``config.preprocessing`` says.

    ``auto`` is what ``backbone`` was trained on. For a backbone the channels become those that it
    takes: grey is repeated, colours are averaged. The layers are named after the backbone.
    """
    prefix = ""
    scaling: str = config.preprocessing
    if backbone is not None:
        prefix = f"{backbone}_"
        entry = BACKBONES[backbone]
        x = _channels(x, entry.channels, prefix)
        scaling = entry.scaling if scaling == "auto" else scaling
    return scale(x, "unit" if scaling == "auto" else scaling, f"{prefix}preprocessing")


def scale(x: keras.KerasTensor, scaling: str, name: str = "preprocessing") -> keras.KerasTensor:
    """Scale pixels ``[N, H, W, C]`` of 0..255 in float32, whatever the precision of the network.

    ``tf``: to [-1, 1]. ``unit``: to [0, 1]. ``torch``: by ImageNet's mean and standard deviation
    of each channel. ``midrange``: each image by the middle of its own range, x / ((max + min) / 2)
    - 1; a black one is -1 all over.
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
    """x / midrange - 1 as one layer."""
    ops = keras.ops
    inputs = layers.Input(shape, dtype="float32", name="pixels")
    high = ops.max(inputs, axis=(1, 2, 3), keepdims=True)
    low = ops.min(inputs, axis=(1, 2, 3), keepdims=True)
    middle = ops.maximum((high + low) / 2, keras.config.epsilon())
    return keras.Model(inputs, inputs / middle - 1, name=name)


def _channels(x: keras.KerasTensor, wanted: int, prefix: str) -> keras.KerasTensor:
    """Repeat grey images over three channels, or average three into grey."""
    given = x.shape[-1]
    if given == wanted:
        return x
    if given == 1:
        return layers.Concatenate(dtype="float32", name=f"{prefix}grey_to_rgb")([x] * wanted)
    kernel = keras.initializers.Constant(1 / given)
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
