from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tests.data.augmentations import EVERYTHING, IMAGES, NONE
from xray_hpc.config.run_config import AugmentConfig
from xray_hpc.data.apply_augmentation import apply_augmentation
from xray_hpc.data.augmentation_parameters import (
    GeometricParameters,
    affine_transforms,
    draw_augmentations,
    draw_geometry,
)

SMOOTH = ndimage.gaussian_filter(IMAGES.astype(float), (0, 2, 2, 0), mode="nearest")
SMOOTH = np.round(SMOOTH).astype(np.uint8)


def applied(
    parameters: GeometricParameters, images: np.ndarray, augment: AugmentConfig, size: int
) -> np.ndarray:
    """Augment images with given geometric parameters."""
    transforms = affine_transforms(parameters, images.shape[1], size)
    brightness = np.ones(len(images), np.float32)
    return apply_augmentation(images, transforms, brightness, augment, size)


def parameters(images: int = 10, **changed: Any) -> GeometricParameters:
    """Return parameters of the identity, except for ``changed``."""
    still = draw_geometry(images, 16, 16, NONE, seed=0, epoch=0)
    values = {
        key: np.broadcast_to(value, getattr(still, key).shape) for key, value in changed.items()
    }
    return GeometricParameters(**vars(still) | values)


def test_apply_augmentation_without_operations_is_the_identity() -> None:
    np.testing.assert_array_equal(applied(parameters(), IMAGES, NONE, 16), IMAGES)
    warped = applied(parameters(), IMAGES, AugmentConfig(rotation=1, brightness=0.1), 16)
    np.testing.assert_array_equal(warped, IMAGES)


@pytest.mark.parametrize("interpolated", [False, True])
@given(
    quarter_turns=st.integers(0, 3),
    flip=st.booleans(),
    left=st.integers(0, 5),
    top=st.integers(0, 5),
)
@settings(max_examples=20)
def test_apply_augmentation_crop_rot90_and_flip_match_numpy(
    interpolated: bool, quarter_turns: int, flip: bool, left: int, top: int
) -> None:
    """This holds with interpolation enabled too, for a zoom of 1."""
    augment = AugmentConfig(
        crop=True, rot90=True, horizontal_flip=True, zoom=0.1 if interpolated else 0.0
    )
    changed = parameters(quarter_turns=quarter_turns, flip=flip, corner=(left, top))
    expected = np.rot90(IMAGES[:, top : top + 11, left : left + 11], quarter_turns, axes=(1, 2))
    expected = expected[:, :, ::-1] if flip else expected
    np.testing.assert_array_equal(applied(changed, IMAGES, augment, 11), expected)


@pytest.mark.parametrize(("operation", "times"), [({"flip": True}, 2), ({"quarter_turns": 1}, 4)])
@pytest.mark.parametrize("size", [15, 16])
def test_apply_augmentation_repeated_flip_or_rot90_is_the_identity(
    operation: dict[str, Any], times: int, size: int
) -> None:
    images = IMAGES[:, :size, :size]
    result = images
    for _ in range(times):
        augment = AugmentConfig(horizontal_flip=True, rot90=True)
        result = applied(parameters(**operation, corner=0), result, augment, size)
    np.testing.assert_array_equal(result, images)


def test_apply_augmentation_whole_pixel_shift() -> None:
    augment = AugmentConfig(width_shift=0.5, fill_mode="constant")
    result = applied(parameters(shift=(4, 0)), IMAGES, augment, 16)
    np.testing.assert_array_equal(result[:, :, 4:], IMAGES[:, :, :-4])
    assert not result[:, :, :4].any()


@pytest.mark.parametrize(
    ("fill_mode", "scipys"),
    [
        ("reflect", "reflect"),
        ("nearest", "nearest"),
        ("constant", "grid-constant"),
        ("wrap", "grid-wrap"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_apply_augmentation_matches_scipy(fill_mode: Any, scipys: str, seed: int) -> None:
    augment = dataclasses.replace(EVERYTHING, fill_mode=fill_mode)
    transforms, brightness = draw_augmentations(10, 16, 12, augment, seed, 0)
    ours = apply_augmentation(SMOOTH, transforms, brightness, augment, 12)[:, :, :, 0]
    y, x = np.mgrid[:12, :12]
    for image, (a0, a1, a2, b0, b1, b2, *_), factor, result in zip(
        SMOOTH[:, :, :, 0], transforms, brightness, ours, strict=True
    ):
        read = np.array([b0 * x + b1 * y + b2, a0 * x + a1 * y + a2])
        theirs = ndimage.map_coordinates(image.astype(float), read, order=1, mode=scipys)
        off = np.abs(np.clip(theirs * factor, 0, 255) - result)
        assert off.max() <= 0.6


def test_apply_augmentation_zoom_matches_keras() -> None:
    """The same factor, given to us and to Keras's RandomZoom."""
    import keras

    image = SMOOTH[:1].astype(np.float32)
    layer = keras.layers.RandomZoom((0.25, 0.25), (0.25, 0.25), fill_mode="reflect")
    theirs = np.asarray(layer(image, training=True))
    ours = applied(parameters(images=1, zoom=1.25), SMOOTH[:1], AugmentConfig(zoom=0.25), 16)
    np.testing.assert_allclose(ours, theirs, atol=0.51)


@given(st.floats(0.5, 1.5, width=32))
@settings(max_examples=20)
def test_apply_augmentation_brightness_rounds_and_clips(factor: float) -> None:
    transforms, _ = draw_augmentations(10, 16, 16, NONE, 0, 0)
    brightness = np.full(10, factor, np.float32)
    result = apply_augmentation(IMAGES, transforms, brightness, AugmentConfig(brightness=0.5), 16)
    expected = np.clip(IMAGES * np.float32(factor), 0, 255)
    assert np.abs(result - expected).max() <= 0.5 + 1e-4


def test_apply_augmentation_rounds_interpolated_values() -> None:
    images = np.full((1, 16, 16, 1), 10, np.uint8)
    images[:, :, 1::2] = 11
    result = applied(
        parameters(images=1, shift=(0.4, 0)), images, AugmentConfig(width_shift=0.1), 16
    )
    np.testing.assert_array_equal(result[:, :, 1:], images[:, :, 1:])  # 10.4 and 10.6


def test_apply_augmentation_is_independent_of_the_batch() -> None:
    transforms, brightness = draw_augmentations(10, 16, 12, EVERYTHING, 0, 0)
    together = apply_augmentation(IMAGES, transforms, brightness, EVERYTHING, 12)
    backwards = apply_augmentation(IMAGES[::-1], transforms[::-1], brightness[::-1], EVERYTHING, 12)
    np.testing.assert_array_equal(together, backwards[::-1])


@pytest.mark.parametrize("fill_mode", ["reflect", "nearest", "constant", "wrap"])
def test_apply_augmentation_treats_channels_alike(fill_mode: Any) -> None:
    augment = dataclasses.replace(EVERYTHING, fill_mode=fill_mode)
    transforms, brightness = draw_augmentations(10, 16, 12, augment, 0, 0)
    planes = [IMAGES, IMAGES[::-1], 255 - IMAGES]
    together = apply_augmentation(
        np.concatenate(planes, axis=3), transforms, brightness, augment, 12
    )
    alone = [apply_augmentation(plane, transforms, brightness, augment, 12) for plane in planes]
    np.testing.assert_array_equal(together, np.concatenate(alone, axis=3))
