"""Input pipeline: batches for Keras from images in memory.

Order and augmentation of an epoch depend only on (seed, epoch), never on a state that a restart
would lose. NumPy and OpenCV make the batches directly from the images, in several threads, so that
a large data set is in memory only once.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from xray_hpc.config.run_config import AugmentConfig
from xray_hpc.data.apply_augmentation import Pixels, apply_augmentation
from xray_hpc.data.augmentation_parameters import (
    Balance,
    FloatArray,
    IntArray,
    epoch_augmentations,
    epoch_order,
    sample_weights,
)
from xray_hpc.data.shutdown_guard import callback_guard
from xray_hpc.thread_map import available_cores

MAX_THREADS = 16  # a core augments some 3,000 images per second
PREFETCHED = 2  # batches, besides those of the threads

Activation = Literal["sigmoid", "softmax"]
Plan = Callable[[int], tuple[npt.NDArray[Any], ...]]
"""From an epoch to arrays ``[T, ...]`` with one row per image."""


def training_batches(
    images: Pixels,
    labels: IntArray,
    indices: IntArray,
    *,
    targets: Activation,
    classes: int,
    batch_size: int,
    input_size: int,
    augment: AugmentConfig,
    balance: Balance,
    seed: int,
    epochs: range,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Return the shuffled and augmented batches of all ``epochs`` in sequence.

    Args:
        images: ``[N, S, S, C]`` raw pixels.
        labels: ``[N]``.
        indices: ``[T]`` positions of the training images. An epoch has ``T // batch_size`` full
            batches and drops the rest of its order, so that every batch divides among replicas.
        targets: the output activation: labels as they are, or one-hot.
        input_size: side s of the crop of each image.
        first_step: step at which the first epoch starts.

    Returns:
        A data set of ``(uint8 [B, s, s, C], float32 [B, 1])``, or ``float32 [B, classes]`` for
        softmax. ``balance="class_weights"`` adds sample weights, ``float32 [B]``.
    """
    train_labels = labels[indices]
    encoded = encode_targets(train_labels, targets, classes)
    weights = sample_weights(train_labels)

    def plan(epoch: int) -> tuple[npt.NDArray[Any], ...]:
        order = epoch_order(train_labels, balance, seed, epoch)
        sizes = images.shape[1], input_size
        augmentations = epoch_augmentations(order, *sizes, augment, seed, epoch)
        return indices[order], *augmentations, encoded[order], weights[order]

    pixels = _reader(images, batch_size, input_size, augment)

    def read(*batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        *parameters, target, weight = batch
        drawn = pixels(*parameters), target
        return (*drawn, weight) if balance == "class_weights" else drawn

    rows = planned_batches(plan, epochs, batch_size, first_step)
    return map_ahead(rows, read)


def encode_targets(labels: IntArray, targets: Activation, classes: int) -> FloatArray:
    """Encode labels ``[T]`` as targets: ``[T, 1]`` for sigmoid, one-hot ``[T, classes]`` else."""
    columns = labels[:, None] if targets == "sigmoid" else np.eye(classes)[labels]
    return columns.astype(np.float32)


def planned_batches(
    plan: Plan, epochs: range, batch_size: int, first_step: int = 0
) -> tf.data.Dataset:
    """Return the full batches of all epochs in sequence; the first begins at ``first_step``."""
    like = plan(epochs.start)
    steps = len(like[0]) // batch_size

    def batches(epoch: np.int64) -> tuple[npt.NDArray[Any], ...]:
        with callback_guard() as needed:
            if not needed:
                return tuple(part[:0] for part in like)
            begin = first_step if epoch == epochs.start else 0
            return tuple(
                part[: steps * batch_size].reshape(steps, batch_size, *part.shape[1:])[begin:]
                for part in plan(int(epoch))
            )

    def slices(epoch: tf.Tensor) -> tf.data.Dataset:
        types = [part.dtype for part in like]
        parts = tf.numpy_function(batches, [epoch], types, stateful=False)
        for part, array in zip(parts, like, strict=True):
            part.set_shape([None, batch_size, *array.shape[1:]])
        return tf.data.Dataset.from_tensor_slices(tuple(parts))

    return tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(slices)


def evaluation_batches(
    images: Pixels, indices: IntArray, batch_size: int, input_size: int
) -> tf.data.Dataset:
    """Return the central crops of a split in order, in full batches ``uint8 [B, s, s, C]``.

    The last image is repeated to fill the last batch: a short one would leave a replica without
    images, which breaks BatchNormalization. Drop the predictions after ``len(indices)``.
    """
    rows = padded_batches(indices, batch_size)
    no_change = np.zeros((batch_size, 8), np.float32), np.ones(batch_size, np.float32)
    pixels = _reader(images, batch_size, input_size, AugmentConfig())
    batches = tf.data.Dataset.from_tensor_slices(rows)
    return map_ahead(batches, lambda batch: pixels(batch, *no_change))


def padded_batches(indices: IntArray, batch_size: int) -> IntArray:
    """Reshape indices to ``[batches, batch_size]``; the last one is repeated to fill up."""
    padding = np.repeat(indices[-1:], -len(indices) % batch_size)
    return np.concatenate([indices, padding]).reshape(-1, batch_size)


def _reader(
    images: Pixels, batch_size: int, input_size: int, augment: AugmentConfig
) -> Callable[..., tf.Tensor]:
    """Return a graph function that reads and augments a batch of ``images``.

    It is declared stateless, or TensorFlow would run its calls one by one in deterministic mode.
    """
    shape = batch_size, input_size, input_size, images.shape[3]
    pool = BufferPool(shape)

    def read(rows: IntArray, transforms: FloatArray, brightness: FloatArray) -> Pixels:
        batch = pool.take()
        with callback_guard() as needed:
            if needed:
                apply_augmentation(
                    [images[i] for i in rows], transforms, brightness, augment, input_size, batch
                )
        return batch

    def pixels(*arguments: tf.Tensor | FloatArray) -> tf.Tensor:
        batch = tf.numpy_function(read, list(arguments), tf.uint8, stateful=False)
        batch.set_shape(shape)
        return batch

    return pixels


def map_ahead(rows: tf.data.Dataset, read: Callable[..., Any]) -> tf.data.Dataset:
    """Apply ``read`` to each element in several threads, and prefetch the resulting batches.

    The number of threads is fixed. TensorFlow's autotuning would run a thread for each iterator
    that can miss the iterator's end, which then takes up to a minute.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    threads = min(available_cores(), MAX_THREADS)
    return rows.map(read, num_parallel_calls=threads).prefetch(PREFETCHED).with_options(options)


class BufferPool:
    """Pool of uninitialized ``uint8`` arrays of one shape, whose memory is reused.

    Fresh memory costs a page fault per page, several times the cost of copying a batch of images
    into it. The memory is page-aligned, so TensorFlow uses an array without a copy and releases it
    with the tensor.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._free: deque[mmap.mmap] = deque()

    def take(self) -> npt.NDArray[np.uint8]:
        """Return an array; its memory is reused once the array and all its views are gone."""
        try:
            memory = self._free.popleft()
        except IndexError:
            memory = mmap.mmap(-1, math.prod(self._shape))
        # NumPy views may drop the array they come from, but they keep this object alive.
        holder = (ctypes.c_uint8 * len(memory)).from_buffer(memory)
        weakref.finalize(holder, self._free.append, memory).atexit = False
        return np.frombuffer(memoryview(holder), np.uint8).reshape(self._shape)
