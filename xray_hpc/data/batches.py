"""Batches for Keras, from images in memory.

An epoch is a function of (seed, epoch): the order of the images and what is done to each of them
are drawn for both (see ``augment.py``), never from a state that a restart would lose. Images are
copied a batch at a time: a large set is in memory once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from xray_hpc.config import AugmentConfig
from xray_hpc.data.augment import (
    IntArray,
    centre,
    epoch_order,
    image_weights,
    interpolates,
    moves_pixels,
    position_changes,
)


def training_batches(
    images: npt.NDArray[np.uint8],
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
    steps, own = len(indices) // batch_size, labels[indices]
    side, channels = images.shape[1], images.shape[3]
    columns = own[:, None] if targets == "sigmoid" else np.eye(classes)[own]
    answers = columns.astype(np.float32)
    weights = image_weights(own)

    def plan() -> Iterator[tuple[npt.NDArray[Any], ...]]:
        for epoch in epochs:
            order = epoch_order(own, balance, seed, epoch)
            moved, lit = position_changes(order, side, input_size, augment, seed, epoch)
            begin = first_step if epoch == epochs.start else 0
            for at in np.arange(steps * batch_size).reshape(steps, batch_size)[begin:]:
                batch = order[at]
                pixels = images[indices[batch]]
                yield pixels, moved[at], lit[at], answers[batch], weights[batch]

    def read(
        pixels: tf.Tensor, moved: tf.Tensor, lit: tf.Tensor, answer: tf.Tensor, weight: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        drawn = change(pixels, moved, lit, augment, input_size), answer
        return (*drawn, weight) if balance == "class_weights" else drawn

    signature = (
        tf.TensorSpec([batch_size, side, side, channels], tf.uint8),
        tf.TensorSpec([batch_size, 8], tf.float32),
        tf.TensorSpec([batch_size], tf.float32),
        tf.TensorSpec([batch_size, answers.shape[1]], tf.float32),
        tf.TensorSpec([batch_size], tf.float32),
    )
    batches = tf.data.Dataset.from_generator(plan, output_signature=signature)
    return _unsharded(batches.map(read, num_parallel_calls=tf.data.AUTOTUNE))


def evaluation_batches(
    images: npt.NDArray[np.uint8], indices: IntArray, batch_size: int, input_size: int
) -> tf.data.Dataset:
    """The images of a split in their order, ``uint8 [B, s, s, C]``, in whole batches.

    Of each the central square of ``input_size`` pixels. The last image is repeated to fill the
    last batch: drop the predictions behind ``len(indices)``. A short batch would leave a replica
    without images, which breaks BatchNormalization, and would have Keras trace its graph once more.
    """
    padding = np.repeat(indices[-1:], -len(indices) % batch_size)
    rows = np.concatenate([indices, padding]).reshape(-1, batch_size)
    squares = centre(images, input_size)
    signature = tf.TensorSpec([batch_size, *squares.shape[1:]], tf.uint8)
    batches = tf.data.Dataset.from_generator(
        lambda: (squares[batch] for batch in rows), output_signature=signature
    )
    # Keras asks how many there are, and warns where a data set cannot tell.
    return _unsharded(batches.apply(tf.data.experimental.assert_cardinality(len(rows))))


def change(
    images: tf.Tensor, moved: tf.Tensor, lit: tf.Tensor, augment: AugmentConfig, input_size: int
) -> tf.Tensor:
    """Move and light images as ``augment.epoch_changes`` says; only what ``augment`` has on.

    Args:
        images: ``uint8 [B, S, S, C]``.
        moved: ``[B, 8]``, a transform each.
        lit: ``[B]``, a factor each.

    Returns:
        ``uint8 [B, s, s, C]``, rounded and clipped.
    """
    if not moves_pixels(augment):
        images = centre(images, input_size)
    elif interpolates(augment):
        images = tf.cast(images, tf.float32)  # the operation would truncate whole numbers
        images = warp(images, moved, "BILINEAR", augment.fill_mode, input_size)
    else:
        images = warp(images, moved, "NEAREST", augment.fill_mode, input_size)
    if augment.brightness:
        images = tf.cast(images, tf.float32) * lit[:, None, None, None]
    if images.dtype == tf.uint8:
        return images
    return tf.cast(tf.minimum(images + 0.5, 255), tf.uint8)


def warp(
    images: tf.Tensor, transforms: tf.Tensor, interpolation: str, fill_mode: str, size: int
) -> tf.Tensor:
    """Read each image ``[B, S, S, C]`` through its transform ``[B, 8]``: ``[B, size, size, C]``.

    Where ``WRAP`` repeats an image, TensorFlow leaves a dark line between the copies.
    """
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=[size, size],
        fill_value=0.0,
        interpolation=interpolation,
        fill_mode=fill_mode.upper(),
    )


def _unsharded(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Prefetch, and let a strategy split each batch among its replicas, not the data set."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)
