from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.data.augmentations import EVERYTHING, IMAGES, NONE
from xray_hpc.config.run_config import AugmentConfig
from xray_hpc.data.input_pipeline import BufferPool, evaluation_batches, training_batches

STRONG = AugmentConfig(zoom=0.3, height_shift=0.2, width_shift=0.2)
LABELS = np.array([0, 1, 0, 1, 0, 1, 0, 1, 1, 1])
INDICES = np.array([1, 2, 3, 5, 7, 8, 9])  # of class 0 only the image 2


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


@pytest.mark.parametrize("balance", ["none", "sampling"])
def test_training_batches_are_the_same_after_a_resume(balance: str) -> None:
    started_at_0 = batches(EVERYTHING, range(3), input_size=12, balance=balance)
    started_at_2 = batches(EVERYTHING, range(2, 3), input_size=12, balance=balance)
    for left, right in zip(started_at_0[4:], started_at_2, strict=True):
        np.testing.assert_array_equal(left[0], right[0])


@pytest.mark.parametrize("balance", ["none", "sampling"])
def test_training_batches_show_each_image_in_n_views(balance: str) -> None:
    few = dataclasses.replace(EVERYTHING, views=2)
    shown = {
        image.tobytes()
        for pixels, _ in batches(few, range(6), batch_size=7, balance=balance)
        for image in pixels
    }
    assert len(shown) == 2 * len(INDICES)


def test_training_batches_one_view_per_epoch() -> None:
    views = dataclasses.replace(EVERYTHING, views=3)
    for left, right in zip(batches(views, range(3)), batches(EVERYTHING, range(3)), strict=True):
        np.testing.assert_array_equal(left[0], right[0])


def test_training_batches_depend_on_epoch_and_seed() -> None:
    first, second = batches(epochs=range(1)), batches(epochs=range(1, 2))
    assert not np.array_equal(first[0][0], second[0][0])
    assert not np.array_equal(first[0][0], batches(epochs=range(1), seed=4)[0][0])


def test_training_batches_images_are_independent_of_batch_size() -> None:
    """Batches of 1 and 7 contain the same augmented images."""
    ones, seven = (batches(EVERYTHING, range(1), batch_size=size) for size in (1, 7))
    np.testing.assert_array_equal(np.concatenate([b[0] for b in ones]), seven[0][0])


def test_training_batches_are_not_overwritten() -> None:
    """Their memory is reused only after they are released."""
    dataset = training_batches(
        IMAGES, LABELS, INDICES, targets="sigmoid", classes=2, batch_size=3, input_size=16,
        augment=EVERYTHING, balance="none", seed=3, epochs=range(20),
    )  # fmt: skip
    held = [(pixels, pixels.numpy().copy()) for pixels, _ in dataset]
    assert len(held) == 40
    for pixels, copied in held:
        np.testing.assert_array_equal(pixels, copied)


def test_training_batches_are_full_and_labelled() -> None:
    known = {IMAGES[i].tobytes(): LABELS[i] for i in INDICES}
    drawn = batches()
    assert len(drawn) == 2 * (len(INDICES) // 3)
    for pixels, targets in drawn:
        assert pixels.shape == (3, 16, 16, 1)
        assert targets.shape == (3, 1)
        assert [known[image.tobytes()] for image in pixels] == targets[:, 0].tolist()


def test_training_batches_softmax_targets_are_one_hot() -> None:
    for (_, one), (_, columns) in zip(
        batches(), batches(targets="softmax", classes=3), strict=True
    ):
        np.testing.assert_array_equal(columns, np.eye(3)[one[:, 0].astype(int)])
        assert columns.dtype == np.float32


def test_training_batches_class_weights() -> None:
    for _, targets, weights in batches(balance="class_weights"):
        assert weights.shape == (3,)
        expected = np.where(targets[:, 0] == 0, 7 / (2 * 1), 7 / (2 * 6))
        np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_training_batches_sampling_augments_each_repetition() -> None:
    ((pixels, targets),) = batches(STRONG, range(1), batch_size=7, balance="sampling")
    copies = [image.tobytes() for image in pixels[targets[:, 0] == 0]]
    assert len(copies) in (3, 4)
    assert len(set(copies)) == len(copies)


def test_training_batches_augmented_images_are_uint8() -> None:
    known = {IMAGES[i].tobytes() for i in INDICES}
    (pixels, _), *_ = batches(STRONG)
    assert pixels.dtype == np.uint8
    assert all(image.tobytes() not in known for image in pixels)


def test_evaluation_batches_keep_order_and_fill_the_last_batch() -> None:
    read = [batch.numpy() for batch in evaluation_batches(IMAGES, INDICES, 3, 16)]
    assert [len(batch) for batch in read] == [3, 3, 3]
    np.testing.assert_array_equal(np.concatenate(read), IMAGES[[*INDICES, 9, 9]])


def test_batches_are_read_without_autotuning() -> None:
    options = evaluation_batches(IMAGES, INDICES, 3, 16).options()
    assert options.autotune.enabled is False


def test_batches_without_augmentation_are_center_crops() -> None:
    (read,) = (batch.numpy() for batch in evaluation_batches(IMAGES, INDICES, 7, 11))
    np.testing.assert_array_equal(read, IMAGES[INDICES, 2:13, 2:13])
    ((pixels, _),) = batches(epochs=range(1), batch_size=7, input_size=11)
    assert {image.tobytes() for image in pixels} == {image.tobytes() for image in read}


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_buffer_pool_reuses_released_memory() -> None:
    pool = BufferPool((3, 5))
    first = address(pool.take())
    assert address(pool.take()) == first


@pytest.mark.parametrize("part", [lambda a: a, lambda a: a[1:], lambda a: a.reshape(-1)[2:].T])
def test_buffer_pool_keeps_memory_while_a_view_exists(part: object) -> None:
    pool = BufferPool((3, 5))
    held = part(pool.take())  # type: ignore[operator]
    held[:] = 7
    for _ in range(3):
        pool.take()[:] = 0
    assert (held == 7).all()


def test_buffer_pool_arrays_are_not_copied_by_tensorflow() -> None:
    """TensorFlow copies arrays that are not aligned for the widest instructions of the CPU."""
    import tensorflow as tf

    pool = BufferPool((3, 5))
    addresses = []

    def make(number: int) -> np.ndarray:
        array = pool.take()
        array[:] = number
        addresses.append(address(array))
        return array

    numbers = tf.data.Dataset.range(4)
    made = numbers.map(lambda n: tf.numpy_function(make, [n], tf.uint8, stateful=False))
    held = [np.asarray(memoryview(tensor)) for tensor in made]
    assert {address(array) for array in held} == set(addresses)
    assert [int(array.max()) for array in held] == [0, 1, 2, 3]
