"""Batches for Keras, from images in memory.

An epoch is a function of (seed, epoch): the order of the images and what is done to each of them
are drawn for both (see ``augment.py``), never from a state that a restart would lose. Batches are
made with NumPy and OpenCV, by as many threads as TensorFlow finds useful, and out of the images
where they lie: a large set is in memory once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from xray_hpc.config.run_config import AugmentConfig
from xray_hpc.data.augmentation import (
    FloatArray,
    IntArray,
    epoch_augmentations,
    epoch_order,
    sample_weights,
)
from xray_hpc.data.image_transform import Pixels, apply_augmentation
from xray_hpc.data.tf_callbacks import BufferPool, callback_guard

TensorLike: TypeAlias = tf.Tensor | FloatArray


def training_batches(
    images: Pixels,
    labels: IntArray,
    indices: IntArray,
    *,
    targets: Literal["sigmoid", "softmax"],
    classes: int,
    batch_size: int,
    input_size: int,
    augment: AugmentConfig,
    balance: Literal["none", "class_weights", "sampling"],
    seed: int,
    epochs: range,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Shuffled and augmented batches of every epoch in ``epochs``, one after another.

    The first of these epochs begins with its step ``first_step``.

    Args:
        images: ``[N, S, S, C]`` raw pixels, of which ``indices`` train.
        labels: ``[N]``, 0 to ``classes - 1``.
        indices: ``[T]``; an epoch gives ``T // batch_size`` whole batches and leaves out the rest
            of its order, so that every batch divides among the replicas.
        targets: the output that is trained: labels as they are, or one-hot.
        input_size: the side s of the square that is cut out of each image.

    Returns:
        A data set of ``(uint8 [B, s, s, C], float32 [B, 1])``, or ``float32 [B, classes]`` for
        softmax. ``balance="class_weights"`` adds the images' weights, ``float32 [B]``.
    """
    own = labels[indices]
    answers = encode_targets(own, targets, classes)
    weights = sample_weights(own)

    def plan(epoch: int) -> tuple[npt.NDArray[Any], ...]:
        order = epoch_order(own, balance, seed, epoch)
        changes = epoch_augmentations(order, images.shape[1], input_size, augment, seed, epoch)
        return indices[order], *changes, answers[order], weights[order]

    pixels = _reader(images, batch_size, input_size, augment)

    def read(
        rows: tf.Tensor,
        transforms: tf.Tensor,
        brightness: tf.Tensor,
        answer: tf.Tensor,
        weight: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        drawn = pixels(rows, transforms, brightness), answer
        return (*drawn, weight) if balance == "class_weights" else drawn

    rows = planned_batches(plan, epochs, batch_size, first_step)
    return prefetch_unsharded(rows.map(read, num_parallel_calls=tf.data.AUTOTUNE))


def encode_targets(
    labels: IntArray, targets: Literal["sigmoid", "softmax"], classes: int
) -> FloatArray:
    """What is to be learnt of labels ``[T]``: themselves, ``[T, 1]``, or one-hot."""
    columns = labels[:, None] if targets == "sigmoid" else np.eye(classes)[labels]
    return columns.astype(np.float32)


def planned_batches(
    plan: Callable[[int], tuple[npt.NDArray[Any], ...]],
    epochs: range,
    batch_size: int,
    first_step: int = 0,
) -> tf.data.Dataset:
    """The whole batches of every epoch's plan, one after another.

    ``plan(epoch)`` gives arrays ``[T, ...]``, a row an image; the first epoch begins with its step
    ``first_step``.
    """
    like = plan(epochs.start)
    steps = len(like[0]) // batch_size

    def batches(epoch: np.int64) -> tuple[npt.NDArray[Any], ...]:
        begin = first_step if epoch == epochs.start else 0
        return tuple(
            part[: steps * batch_size].reshape(steps, batch_size, *part.shape[1:])[begin:]
            for part in plan(int(epoch))
        )

    def guarded(epoch: np.int64) -> tuple[npt.NDArray[Any], ...]:
        with callback_guard() as useful:
            return batches(epoch) if useful else tuple(part[:0] for part in like)

    def slices(epoch: tf.Tensor) -> tf.data.Dataset:
        types = [part.dtype for part in like]
        parts = tf.numpy_function(guarded, [epoch], types, stateful=False)
        for part, array in zip(parts, like, strict=True):
            part.set_shape([None, batch_size, *array.shape[1:]])
        return tf.data.Dataset.from_tensor_slices(tuple(parts))

    return tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(slices)


def evaluation_batches(
    images: Pixels, indices: IntArray, batch_size: int, input_size: int
) -> tf.data.Dataset:
    """The images of a split in their order, ``uint8 [B, s, s, C]``, in whole batches.

    Of each the central square of ``input_size`` pixels. The last image is repeated to fill the
    last batch: drop the predictions behind ``len(indices)``. A short batch would leave a replica
    without images, which breaks BatchNormalization, and would have Keras trace its graph once more.
    """
    rows = padded_batches(indices, batch_size)
    still = np.zeros((batch_size, 8), np.float32), np.ones(batch_size, np.float32)
    pixels = _reader(images, batch_size, input_size, AugmentConfig())
    batches = tf.data.Dataset.from_tensor_slices(rows)
    return prefetch_unsharded(batches.map(lambda own: pixels(own, *still), tf.data.AUTOTUNE))


def padded_batches(indices: IntArray, batch_size: int) -> IntArray:
    """A row a batch, ``[batches, batch_size]``; the last index fills up the last one."""
    padding = np.repeat(indices[-1:], -len(indices) % batch_size)
    return np.concatenate([indices, padding]).reshape(-1, batch_size)


def _reader(
    images: Pixels, batch_size: int, input_size: int, augment: AugmentConfig
) -> Callable[[tf.Tensor, TensorLike, TensorLike], tf.Tensor]:
    """A function of a graph that reads a batch of ``images`` and changes it (see ``change``).

    Several threads may run it, as it only reads; it says so, because TensorFlow would have them
    wait for each other otherwise where operations are to be deterministic.
    """
    shape = batch_size, input_size, input_size, images.shape[3]
    pool = BufferPool(shape)

    def read(rows: IntArray, transforms: FloatArray, brightness: FloatArray) -> Pixels:
        batch = pool.take()
        with callback_guard() as useful:
            if useful:
                apply_augmentation(
                    [images[i] for i in rows], transforms, brightness, augment, input_size, batch
                )
        return batch

    def pixels(rows: tf.Tensor, transforms: TensorLike, brightness: TensorLike) -> tf.Tensor:
        batch = tf.numpy_function(read, [rows, transforms, brightness], tf.uint8, stateful=False)
        batch.set_shape(shape)
        return batch

    return pixels


def prefetch_unsharded(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Prefetch, and let a strategy split each batch among its replicas, not the data set."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)
