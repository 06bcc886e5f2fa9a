"""Tiny models whose classes are decided by what a test draws into an image."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt

SIDE = 16


def spot_model(*, classes: int = 2, output: str = "sigmoid") -> keras.Model:
    """Return a model whose last class is that of images with a bright spot.

    A convolution averages 3x3 pixels. The logit of the last class is the mean of its outputs above
    half of the brightest grey, and that of the others is the opposite.
    """
    inputs = keras.Input((SIDE, SIDE, 1), name="image")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    bright = keras.layers.Conv2D(1, 3, padding="same", activation="relu", name="bright")
    x = keras.layers.MaxPooling2D(name="pool")(bright(x))
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    units = 1 if output == "sigmoid" else classes
    logits = keras.layers.Dense(units, name="logits")
    scores = keras.layers.Activation(output)(logits(x))
    model = keras.Model(inputs, scores, name="spots")
    bright.set_weights([np.full((3, 3, 1, 1), 1 / 9), np.array([-0.5])])
    kernel = np.full((1, units), -20.0)
    kernel[:, -1] = 20.0
    logits.set_weights([kernel, np.full(units, -0.1)])
    return model


def spotted(*positions: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return dark images ``[N, 16, 16, 1]`` with a spot of 3x3 pixels around each position."""
    images = np.full((len(positions), SIDE, SIDE, 1), 20, np.uint8)
    for image, (row, column) in zip(images, positions, strict=True):
        image[row - 1 : row + 2, column - 1 : column + 2] = 255
    return images
