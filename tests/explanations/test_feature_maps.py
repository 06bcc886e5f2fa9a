"""Where models are split: the last maps before pooling, also in nested models."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from xray_hpc.explanations.feature_maps import split_at_maps

IMAGES = np.random.default_rng(0).random((2, 16, 16, 1)).astype(np.float32)


def convolution(filters: int) -> keras.Layer:
    return keras.layers.Conv2D(filters, 3, activation="relu", name=f"conv{filters}")


def sequential() -> keras.Model:
    pool = keras.layers.GlobalAveragePooling2D()
    layers = [convolution(2), convolution(4), keras.layers.MaxPooling2D(), pool]
    return keras.Sequential([keras.Input((16, 16, 1)), *layers, keras.layers.Dense(3)])


def nested() -> keras.Model:
    image = keras.Input((16, 16, 1))
    backbone = keras.Sequential([keras.Input((16, 16, 1)), convolution(2), convolution(4)])
    return keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(backbone(image))))


def nested_with_pooling() -> keras.Model:
    image = keras.Input((16, 16, 1))
    pool = keras.layers.GlobalMaxPooling2D(keepdims=True)
    layers = [convolution(2), convolution(4), pool, keras.layers.Flatten()]
    backbone = keras.Sequential([keras.Input((16, 16, 1)), *layers])
    return keras.Model(image, keras.layers.Dense(3)(backbone(keras.layers.Rescaling(2.0)(image))))


def branches() -> keras.Model:
    """Return a model with a branch of its own and a nested one, which pools its maps."""
    model = nested_with_pooling()
    image = keras.Input((16, 16, 1))
    own = keras.layers.Flatten()(convolution(5)(image))
    return keras.Model(image, keras.layers.Concatenate()([own, model(image)]))


@pytest.mark.parametrize(
    ("build", "shapes"),
    [
        (sequential, [(12, 12, 4)]),
        (nested, [(12, 12, 4)]),
        (nested_with_pooling, [(12, 12, 4)]),
        (branches, [(14, 14, 5), (12, 12, 4)]),
    ],
)
def test_parts_compute_what_the_model_computes(build, shapes) -> None:  # type: ignore[no-untyped-def]
    model = build()
    parts = split_at_maps(model, model.outputs[0])
    maps = keras.tree.flatten(parts.extractor([IMAGES]))
    assert [tuple(one.shape[1:]) for one in maps] == shapes
    np.testing.assert_array_equal(parts.head(maps), model(IMAGES))
