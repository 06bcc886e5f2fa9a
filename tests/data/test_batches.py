from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from xray_hpc.config import AugmentConfig
from xray_hpc.data.augment import Moves, epoch_changes, epoch_moves, transforms
from xray_hpc.data.batches import change, evaluation_batches, training_batches

NONE = AugmentConfig()
STRONG = AugmentConfig(zoom=0.3, height_shift=0.2, width_shift=0.2)
EVERYTHING = AugmentConfig(
    rotation=40,
    zoom=0.3,
    shear=20,
    height_shift=0.2,
    width_shift=0.1,
    mirror=True,
    quarter_turns=True,
    crop=True,
    brightness=0.3,
)
IMAGES = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 1)).astype(np.uint8)
LABELS = np.array([0, 1, 0, 1, 0, 1, 0, 1, 1, 1])
INDICES = np.array([1, 2, 3, 5, 7, 8, 9])  # of class 0 only the image 2
SMOOTH = ndimage.gaussian_filter(IMAGES.astype(float), (0, 2, 2, 0), mode="nearest")
SMOOTH = np.round(SMOOTH).astype(np.uint8)


def batches(augment: AugmentConfig = NONE, epochs: range = range(2), **changes: Any) -> list:
    """Batches of 3, as tuples of arrays."""
    values: dict[str, Any] = {
        "targets": "sigmoid",
        "classes": 2,
        "batch_size": 3,
        "input_size": 16,
        "balance": "none",
        "seed": 3,
    }
    dataset = training_batches(
        IMAGES, LABELS, INDICES, augment=augment, epochs=epochs, **values | changes
    )
    return [tuple(part.numpy() for part in batch) for batch in dataset]


def applied(moves: Moves, images: np.ndarray, augment: AugmentConfig, size: int) -> np.ndarray:
    """The images through the moves, as a training does it."""
    moved = transforms(moves, images.shape[1], size)
    lit = np.ones(len(images), np.float32)
    return np.asarray(change(images, moved, lit, augment, size))


def moves(images: int = 10, **changed: Any) -> Moves:
    """Moves that leave images as they are, but for the values that are given."""
    still = epoch_moves(images, 16, 16, NONE, seed=0, epoch=0)
    values = {
        key: np.broadcast_to(value, getattr(still, key).shape) for key, value in changed.items()
    }
    return Moves(**vars(still) | values)


@pytest.mark.parametrize("balance", ["none", "sampling"])
def test_an_epoch_is_the_same_whenever_a_training_is_taken_up(balance: str) -> None:
    started_at_0 = batches(EVERYTHING, range(3), input_size=12, balance=balance)
    started_at_2 = batches(EVERYTHING, range(2, 3), input_size=12, balance=balance)
    for left, right in zip(started_at_0[4:], started_at_2, strict=True):
        np.testing.assert_array_equal(left[0], right[0])


@pytest.mark.parametrize("balance", ["none", "sampling"])
def test_with_views_an_image_has_no_more_than_so_many_changes(balance: str) -> None:
    few = dataclasses.replace(EVERYTHING, views=2)
    shown = {
        image.tobytes()
        for pixels, _ in batches(few, range(6), batch_size=7, balance=balance)
        for image in pixels
    }
    assert len(shown) == 2 * len(INDICES)


def test_as_many_views_as_epochs_are_what_live_ones_are() -> None:
    views = dataclasses.replace(EVERYTHING, views=3)
    for left, right in zip(batches(views, range(3)), batches(EVERYTHING, range(3)), strict=True):
        np.testing.assert_array_equal(left[0], right[0])


def test_epochs_and_seeds_differ() -> None:
    first, second = batches(epochs=range(1)), batches(epochs=range(1, 2))
    assert not np.array_equal(first[0][0], second[0][0])
    assert not np.array_equal(first[0][0], batches(epochs=range(1), seed=4)[0][0])


def test_what_happens_to_an_image_does_not_depend_on_its_batch() -> None:
    """Batches of 1 and of 7 hold the same images, each changed in the same way."""
    ones, seven = (batches(EVERYTHING, range(1), batch_size=size) for size in (1, 7))
    np.testing.assert_array_equal(np.concatenate([b[0] for b in ones]), seven[0][0])


def test_every_batch_is_whole_and_labels_stay_with_their_images() -> None:
    known = {IMAGES[i].tobytes(): LABELS[i] for i in INDICES}
    drawn = batches()
    assert len(drawn) == 2 * (len(INDICES) // 3)
    for pixels, targets in drawn:
        assert pixels.shape == (3, 16, 16, 1)
        assert targets.shape == (3, 1)
        assert [known[image.tobytes()] for image in pixels] == targets[:, 0].tolist()


def test_softmax_is_trained_on_one_column_a_class() -> None:
    for (_, one), (_, columns) in zip(
        batches(), batches(targets="softmax", classes=3), strict=True
    ):
        np.testing.assert_array_equal(columns, np.eye(3)[one[:, 0].astype(int)])
        assert columns.dtype == np.float32


def test_class_weights_come_with_their_images() -> None:
    for _, targets, weights in batches(balance="class_weights"):
        assert weights.shape == (3,)
        expected = np.where(targets[:, 0] == 0, 7 / (2 * 1), 7 / (2 * 6))
        np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_sampling_shows_a_rare_image_often_and_changed_each_time() -> None:
    ((pixels, targets),) = batches(STRONG, range(1), batch_size=7, balance="sampling")
    copies = [image.tobytes() for image in pixels[targets[:, 0] == 0]]
    assert len(copies) in (3, 4)
    assert len(set(copies)) == len(copies)


def test_augmented_images_keep_their_type_and_differ_from_the_originals() -> None:
    known = {IMAGES[i].tobytes() for i in INDICES}
    (pixels, _), *_ = batches(STRONG)
    assert pixels.dtype == np.uint8
    assert all(image.tobytes() not in known for image in pixels)


def test_evaluation_keeps_the_order_and_fills_the_last_batch() -> None:
    read = [batch.numpy() for batch in evaluation_batches(IMAGES, INDICES, 3, 16)]
    assert [len(batch) for batch in read] == [3, 3, 3]
    np.testing.assert_array_equal(np.concatenate(read), IMAGES[[*INDICES, 9, 9]])


def test_evaluation_sees_the_centre_and_so_does_training_without_augmentation() -> None:
    (read,) = (batch.numpy() for batch in evaluation_batches(IMAGES, INDICES, 7, 11))
    np.testing.assert_array_equal(read, IMAGES[INDICES, 2:13, 2:13])
    ((pixels, _),) = batches(epochs=range(1), batch_size=7, input_size=11)
    assert {image.tobytes() for image in pixels} == {image.tobytes() for image in read}


# The operations, as they are done to the images


def test_no_augmentation_is_the_identity() -> None:
    np.testing.assert_array_equal(applied(moves(), IMAGES, NONE, 16), IMAGES)
    warped = applied(moves(), IMAGES, AugmentConfig(rotation=1, brightness=0.1), 16)
    np.testing.assert_array_equal(warped, IMAGES)


@pytest.mark.parametrize("interpolated", [False, True])
@given(turns=st.integers(0, 3), mirror=st.booleans(), left=st.integers(0, 5), top=st.integers(0, 5))
@settings(max_examples=20)
def test_crop_turn_and_mirror_are_numpys_to_the_byte(
    interpolated: bool, turns: int, mirror: bool, left: int, top: int
) -> None:
    """Beside a rotation or zoom that happens to be none, too."""
    augment = AugmentConfig(
        crop=True, quarter_turns=True, mirror=True, zoom=0.1 if interpolated else 0.0
    )
    changed = moves(turns=turns, mirror=mirror, corner=(left, top))
    expected = np.rot90(IMAGES[:, top : top + 11, left : left + 11], turns, axes=(1, 2))
    expected = expected[:, :, ::-1] if mirror else expected
    np.testing.assert_array_equal(applied(changed, IMAGES, augment, 11), expected)


@pytest.mark.parametrize(("change_of", "times"), [({"mirror": True}, 2), ({"turns": 1}, 4)])
@pytest.mark.parametrize("size", [15, 16])
def test_two_mirrors_and_four_quarter_turns_are_the_identity(
    change_of: dict[str, Any], times: int, size: int
) -> None:
    images = IMAGES[:, :size, :size]
    result = images
    for _ in range(times):
        augment = AugmentConfig(mirror=True, quarter_turns=True)
        result = applied(moves(**change_of, corner=0), result, augment, size)
    np.testing.assert_array_equal(result, images)


def test_a_shift_by_whole_pixels_moves_them_and_fills_the_rest() -> None:
    augment = AugmentConfig(width_shift=0.5, fill_mode="constant")
    result = applied(moves(shift=(4, 0)), IMAGES, augment, 16)
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
def test_everything_together_is_scipys_affine_transform(
    fill_mode: Any, scipys: str, seed: int
) -> None:
    augment = dataclasses.replace(EVERYTHING, fill_mode=fill_mode)
    moved, lit = epoch_changes(10, 16, 12, augment, seed, 0)
    ours = np.asarray(change(SMOOTH, moved, lit, augment, 12))[:, :, :, 0]
    y, x = np.mgrid[:12, :12]
    for image, (a0, a1, a2, b0, b1, b2, *_), factor, result in zip(
        SMOOTH[:, :, :, 0], moved, lit, ours, strict=True
    ):
        read = np.array([b0 * x + b1 * y + b2, a0 * x + a1 * y + a2])
        theirs = ndimage.map_coordinates(image.astype(float), read, order=1, mode=scipys)
        off = np.abs(np.clip(theirs * factor, 0, 255) - result)
        if fill_mode == "wrap":  # TensorFlow fills between the last pixel and the first
            off[(read % 16 > 15).any(axis=0)] = 0
        assert off.max() <= 0.6


def test_zoom_agrees_with_keras() -> None:
    """The same factor, given to us and to Keras's RandomZoom."""
    import keras

    image = SMOOTH[:1].astype(np.float32)
    layer = keras.layers.RandomZoom((0.25, 0.25), (0.25, 0.25), fill_mode="reflect")
    theirs = np.asarray(layer(image, training=True))
    ours = applied(moves(images=1, zoom=1.25), SMOOTH[:1], AugmentConfig(zoom=0.25), 16)
    np.testing.assert_allclose(ours, theirs, atol=0.51)


@given(st.floats(0.5, 1.5, width=32))
@settings(max_examples=20)
def test_brightness_multiplies_rounds_and_clips(factor: float) -> None:
    moved, _ = epoch_changes(10, 16, 16, NONE, 0, 0)
    lit = np.full(10, factor, np.float32)
    result = change(IMAGES, moved, lit, AugmentConfig(brightness=0.5), 16).numpy()
    expected = np.clip(IMAGES * np.float32(factor), 0, 255)
    assert np.abs(result - expected).max() <= 0.5 + 1e-4


def test_results_are_rounded_not_cut_off() -> None:
    images = np.full((1, 16, 16, 1), 10, np.uint8)
    images[:, :, 1::2] = 11
    result = applied(moves(images=1, shift=(0.4, 0)), images, AugmentConfig(width_shift=0.1), 16)
    np.testing.assert_array_equal(result[:, :, 1:], images[:, :, 1:])  # 10.4 and 10.6
