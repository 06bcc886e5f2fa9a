from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_hpc.config import AugmentConfig
from xray_hpc.data.batches import (
    epoch_order,
    epoch_transforms,
    evaluation_batches,
    training_batches,
    warp,
)

NONE = AugmentConfig()
STRONG = AugmentConfig(zoom=0.3, height_shift=0.2, width_shift=0.2)
IMAGES = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 1)).astype(np.uint8)
LABELS = np.arange(10, dtype=np.int64) % 2
INDICES = np.array([1, 2, 3, 5, 7, 8, 9])


def batches(augment: AugmentConfig = NONE, epochs: range = range(2), seed: int = 3) -> list:
    dataset = training_batches(
        IMAGES, LABELS, INDICES, batch_size=3, augment=augment, seed=seed, epochs=epochs
    )
    return [(pixels.numpy(), labels.numpy()) for pixels, labels in dataset]


@given(st.integers(1, 200), st.integers(0, 2**32 - 1), st.integers(0, 100))
def test_an_epoch_visits_every_image_once(images: int, seed: int, epoch: int) -> None:
    assert sorted(epoch_order(images, seed, epoch)) == list(range(images))


def test_an_epoch_is_the_same_whenever_it_is_drawn() -> None:
    started_at_0 = batches(STRONG, range(3))
    started_at_2 = batches(STRONG, range(2, 3))
    for (left, _), (right, _) in zip(started_at_0[4:], started_at_2, strict=True):
        np.testing.assert_array_equal(left, right)


def test_epochs_and_seeds_differ() -> None:
    first, second = batches(epochs=range(1)), batches(epochs=range(1, 2))
    assert not np.array_equal(first[0][0], second[0][0])
    assert not np.array_equal(first[0][0], batches(epochs=range(1), seed=4)[0][0])


def test_every_batch_is_whole_and_labels_stay_with_their_images() -> None:
    known = {IMAGES[i].tobytes(): LABELS[i] for i in INDICES}
    drawn = batches()
    assert len(drawn) == 2 * (len(INDICES) // 3)
    for pixels, labels in drawn:
        assert pixels.shape == (3, 16, 16, 1)
        assert labels.shape == (3, 1)
        assert [known[image.tobytes()] for image in pixels] == labels[:, 0].tolist()


def test_augmented_images_keep_their_type_and_differ_from_the_originals() -> None:
    known = {IMAGES[i].tobytes() for i in INDICES}
    (pixels, _), *_ = batches(STRONG)
    assert pixels.dtype == np.uint8
    assert all(image.tobytes() not in known for image in pixels)


def test_no_augmentation_is_the_identity() -> None:
    transforms = epoch_transforms(len(IMAGES), 16, NONE, seed=1, epoch=0)
    np.testing.assert_array_equal(warp(IMAGES, transforms, "reflect"), IMAGES)


def test_a_shift_moves_the_image_by_whole_pixels() -> None:
    transforms = epoch_transforms(1, 16, NONE, seed=1, epoch=0)
    transforms[:, 2] -= 4  # read 4 pixels to the left: the image moves to the right
    moved = warp(IMAGES[:1], transforms, "constant").numpy()
    np.testing.assert_array_equal(moved[:, :, 4:], IMAGES[:1, :, :-4])
    assert not moved[:, :, :4].any()


@given(
    st.floats(0, 0.9),
    st.floats(0, 0.9),
    st.floats(0, 0.9),
    st.integers(0, 2**32 - 1),
    st.integers(0, 50),
)
@settings(max_examples=50)
def test_transforms_stay_within_what_was_asked_for(
    zoom: float, height: float, width: float, seed: int, epoch: int
) -> None:
    augment = AugmentConfig(zoom=zoom, height_shift=height, width_shift=width)
    size = 32
    drawn = epoch_transforms(20, size, augment, seed, epoch)
    assert np.all(np.abs(drawn[:, 0] - 1) <= zoom + 1e-6)
    assert np.all(np.abs(drawn[:, 4] - 1) <= zoom + 1e-6)
    centre = (size - 1) / 2
    # where the image's centre is read: off the centre by the shift alone
    assert np.all(np.abs(drawn[:, 0] * centre + drawn[:, 2] - centre) <= width * size + 1e-3)
    assert np.all(np.abs(drawn[:, 4] * centre + drawn[:, 5] - centre) <= height * size + 1e-3)


def test_zoom_agrees_with_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same factor, drawn by us and given to Keras's RandomZoom as a fixed one."""
    import keras

    image = IMAGES[:1].astype(np.float32)
    layer = keras.layers.RandomZoom((0.25, 0.25), (0.25, 0.25), fill_mode="reflect")
    theirs = np.asarray(layer(image, training=True))
    draws = np.full((1, 4), [1.0, 1.0, 0.0, 0.0])

    class Fixed:
        def uniform(self, *_: object, **__: object) -> np.ndarray:
            return draws

    monkeypatch.setattr(np.random, "default_rng", lambda _: Fixed())
    transforms = epoch_transforms(1, 16, AugmentConfig(zoom=0.25), seed=0, epoch=0)
    ours = warp(image, transforms, "reflect").numpy()
    np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_evaluation_keeps_the_order_and_fills_the_last_batch() -> None:
    read = [batch.numpy() for batch in evaluation_batches(IMAGES, INDICES, 3)]
    assert [len(batch) for batch in read] == [3, 3, 3]
    np.testing.assert_array_equal(np.concatenate(read), IMAGES[[*INDICES, 9, 9]])
