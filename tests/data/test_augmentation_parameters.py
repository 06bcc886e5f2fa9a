from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.augmentations import EVERYTHING
from xray_hpc.config.run_config import AugmentConfig
from xray_hpc.data.augmentation_parameters import (
    GeometricParameters,
    affine_transforms,
    augmentation_rows,
    center_crop,
    draw_augmentations,
    draw_geometry,
    epoch_order,
    epoch_views,
    sample_weights,
)

OPERATIONS = [field.name for field in dataclasses.fields(AugmentConfig)][:-1]
SEEDS, EPOCHS = st.integers(0, 2**32 - 1), st.integers(0, 100)
LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=60).map(np.array)


def drawn(augment: AugmentConfig, images: int = 50, epoch: int = 0) -> GeometricParameters:
    return draw_geometry(images, 32, 24, augment, seed=1, epoch=epoch)


def only(name: str) -> AugmentConfig:
    """Return a config with only one operation of ``EVERYTHING``."""
    return AugmentConfig(**{name: getattr(EVERYTHING, name)})


# Order of an epoch


@given(LABELS, SEEDS, EPOCHS)
def test_epoch_order_visits_every_image_once(labels: np.ndarray, seed: int, epoch: int) -> None:
    for balance in ("none", "class_weights"):
        order = epoch_order(labels, balance, seed, epoch)
        assert sorted(order) == list(range(len(labels)))


@given(LABELS, SEEDS, EPOCHS)
def test_epoch_order_sampling_balances_the_classes(
    labels: np.ndarray, seed: int, epoch: int
) -> None:
    order = epoch_order(labels, "sampling", seed, epoch)
    shown = np.unique(labels[order], return_counts=True)[1]
    assert len(order) == len(labels)
    assert len(shown) == min(len(np.unique(labels)), len(labels))
    assert shown.max() - shown.min() <= 1


@given(LABELS, SEEDS, EPOCHS)
def test_epoch_order_sampling_balances_the_images_of_a_class(
    labels: np.ndarray, seed: int, epoch: int
) -> None:
    times = np.bincount(epoch_order(labels, "sampling", seed, epoch), minlength=len(labels))
    for label in np.unique(labels):
        assert np.ptp(times[labels == label]) <= 1


def test_epoch_order_sampling_reaches_every_image() -> None:
    labels = np.repeat([0, 1], [5, 95])
    seen = {i for epoch in range(12) for i in epoch_order(labels, "sampling", 1, epoch)}
    assert seen == set(range(100))


@given(LABELS, SEEDS, EPOCHS)
def test_augmentation_rows_are_unique(labels: np.ndarray, seed: int, epoch: int) -> None:
    order = epoch_order(labels, "sampling", seed, epoch)
    rows = augmentation_rows(order)
    assert sorted(rows) == list(range(len(labels)))
    for image in np.unique(order):  # the first occurrence uses its own row
        assert rows[list(order).index(image)] == image


def test_augmentation_rows_without_sampling_are_the_order() -> None:
    order = epoch_order(np.zeros(20, int), "none", seed=1, epoch=0)
    np.testing.assert_array_equal(augmentation_rows(order), order)


@given(LABELS, SEEDS, st.integers(1, 6), EPOCHS)
def test_epoch_views_alternate_between_and_within_epochs(
    labels: np.ndarray, seed: int, views: int, epoch: int
) -> None:
    order = epoch_order(labels, "sampling", seed, epoch)
    shown = epoch_views(order, views, epoch)
    for image in np.unique(order):
        own = shown[order == image]
        assert own.tolist() == [(epoch + k) % views for k in range(len(own))]


@given(LABELS)
def test_sample_weights_match_scikit_learn(labels: np.ndarray) -> None:
    from sklearn.utils.class_weight import compute_sample_weight

    weights = sample_weights(labels)
    np.testing.assert_allclose(weights, compute_sample_weight("balanced", labels), rtol=1e-6)
    np.testing.assert_allclose(weights.mean(), 1, rtol=1e-6)


# Random parameters


@given(
    st.builds(
        AugmentConfig,
        rotation=st.floats(0, 180),
        zoom=st.floats(0, 0.9),
        shear=st.floats(0, 80),
        height_shift=st.floats(0, 0.9),
        width_shift=st.floats(0, 0.9),
        brightness=st.floats(0, 0.9),
    ),
    SEEDS,
    EPOCHS,
)
def test_draw_augmentations_stays_within_the_limits(
    augment: AugmentConfig, seed: int, epoch: int
) -> None:
    parameters = draw_geometry(20, 32, 32, augment, seed, epoch)
    _, brightness = draw_augmentations(20, 32, 32, augment, seed, epoch)
    for values, most in (
        (parameters.rotation, augment.rotation),
        (parameters.shear, augment.shear),
        (parameters.zoom - 1, augment.zoom),
        (parameters.shift[:, 0], augment.width_shift * 32),
        (parameters.shift[:, 1], augment.height_shift * 32),
        (brightness - 1, augment.brightness),
    ):
        assert np.abs(values).max() <= most + 1e-6


def test_draw_geometry_uses_the_whole_range() -> None:
    parameters = draw_geometry(2000, 32, 24, EVERYTHING, seed=1, epoch=0)
    assert parameters.rotation.min() < -38 < 38 < parameters.rotation.max()
    assert parameters.flip.mean() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(np.bincount(parameters.quarter_turns) / 2000, 0.25, atol=0.05)
    assert np.unique(parameters.corner).tolist() == list(range(9))


@pytest.mark.parametrize("name", OPERATIONS)
def test_draw_geometry_operations_have_independent_streams(name: str) -> None:
    """A sweep that disables one operation then compares the same values of the others."""
    without = dataclasses.replace(EVERYTHING, **{name: type(getattr(EVERYTHING, name))()})
    every, others = vars(drawn(EVERYTHING)), vars(drawn(without))
    alone = vars(drawn(only(name)))
    still = vars(drawn(AugmentConfig()))
    for key in every:
        own = not np.array_equal(alone[key], still[key])  # drawn by the operation
        if own and key not in ("shift", "zoom"):
            np.testing.assert_array_equal(alone[key], every[key])
        elif not own:
            np.testing.assert_array_equal(others[key], every[key])


def test_draw_augmentations_brightness_has_its_own_stream() -> None:
    (_, alone), (_, every) = (
        draw_augmentations(9, 32, 24, augment, 1, 0) for augment in (only("brightness"), EVERYTHING)
    )
    np.testing.assert_array_equal(alone, every)


def test_affine_transforms_differ_between_images_and_epochs() -> None:
    one = affine_transforms(drawn(EVERYTHING), 32, 24)
    other = affine_transforms(drawn(EVERYTHING, epoch=1), 32, 24)
    assert len(np.unique(np.concatenate([one, other]), axis=0)) == 100


# Transforms


def matrices(parameters: GeometricParameters, size: int, result: int) -> np.ndarray:
    """Return the transforms as matrices ``[N, 3, 3]`` that act on (x, y, 1)."""
    rows = affine_transforms(parameters, size, result).astype(float)
    return np.concatenate([rows, np.ones((len(rows), 1))], axis=1).reshape(-1, 3, 3)


def test_affine_transforms_without_augmentation_crop_the_center() -> None:
    rows = affine_transforms(draw_geometry(3, 16, 11, AugmentConfig(), 1, 0), 16, 11)
    np.testing.assert_array_equal(rows, [[1, 0, 2, 0, 1, 2, 0, 0]] * 3)
    images = np.arange(256).reshape(1, 16, 16, 1).astype(np.uint8)
    np.testing.assert_array_equal(center_crop(images, 11), images[:, 2:13, 2:13])


@given(st.integers(8, 200), st.integers(1, 200), SEEDS)
def test_draw_geometry_crop_lies_within_the_image(size: int, cut: int, seed: int) -> None:
    cut = min(size, cut)
    corner = draw_geometry(20, size, cut, AugmentConfig(crop=True), seed, 0).corner
    assert corner.min() >= 0
    assert corner.max() + cut <= size


@given(st.integers(8, 4096), st.integers(8, 4096), SEEDS)
def test_affine_transforms_crop_rot90_and_flip_use_whole_pixels(
    size: int, cut: int, seed: int
) -> None:
    """They are exact in float32 even for the largest images, and stay within the image."""
    size, cut = max(size, cut), min(size, cut)
    augment = AugmentConfig(crop=True, rot90=True, horizontal_flip=True)
    rows = affine_transforms(draw_geometry(20, size, cut, augment, seed, 0), size, cut)
    np.testing.assert_array_equal(rows, rows.round())
    corners = np.array([[0, 0, 1], [cut - 1, 0, 1], [0, cut - 1, 1], [cut - 1, cut - 1, 1]]).T
    for read in (rows[:, :3] @ corners, rows[:, 3:6] @ corners):
        assert read.min() >= 0
        assert read.max() <= size - 1


def test_affine_transforms_without_shift_keep_the_center() -> None:
    augment = dataclasses.replace(EVERYTHING, crop=False, width_shift=0.0, height_shift=0.0)
    middle = np.array([11.5, 11.5, 1])
    read = matrices(drawn(augment), 32, 24) @ middle
    np.testing.assert_allclose(read, np.tile([15.5, 15.5, 1], (50, 1)), atol=1e-5)


def test_affine_transforms_positive_shift_is_right_and_down() -> None:
    augment = AugmentConfig(height_shift=0.2, width_shift=0.1)
    parameters = draw_geometry(9, 32, 32, augment, seed=1, epoch=0)
    for (x, y), matrix in zip(parameters.shift, matrices(parameters, 32, 32), strict=True):
        np.testing.assert_allclose(matrix @ [x + 10, y + 20, 1], [10, 20, 1], atol=1e-5)


@given(SEEDS)
def test_affine_transforms_match_keras_matrices(seed: int) -> None:
    """Multiply the matrices in the order of Keras's ``ImageDataGenerator``."""
    parameters = draw_geometry(5, 32, 24, EVERYTHING, seed, 0)
    for i, matrix in enumerate(matrices(parameters, 32, 24)):
        r, s = np.deg2rad(parameters.rotation[i]), np.deg2rad(parameters.shear[i])
        (tx, ty), (zx, zy), (left, top) = (
            parameters.shift[i],
            parameters.zoom[i],
            parameters.corner[i],
        )
        steps: list[Any] = [
            [[1, 0, 15.5], [0, 1, 15.5], [0, 0, 1]],
            [[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]],
            [[1, 0, -tx], [0, 1, -ty], [0, 0, 1]],
            [[1, -np.sin(s), 0], [0, np.cos(s), 0], [0, 0, 1]],
            [[zx, 0, 0], [0, zy, 0], [0, 0, 1]],
            [[1, 0, -15.5], [0, 1, -15.5], [0, 0, 1]],
            [[1, 0, left], [0, 1, top], [0, 0, 1]],
            *[[[0, -1, 23], [1, 0, 0], [0, 0, 1]]] * int(parameters.quarter_turns[i]),
            *[[[-1, 0, 23], [0, 1, 0], [0, 0, 1]]] * int(parameters.flip[i]),
        ]
        np.testing.assert_allclose(matrix, np.linalg.multi_dot([np.eye(3), *steps]), atol=1e-4)
