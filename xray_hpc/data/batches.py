"""Batches for Keras, from images in memory.

An epoch is a function of (seed, epoch): the order of the images and what is done to each of them
are drawn from a generator seeded with both, never from a state that a restart would lose.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from xray_hpc.config import AugmentConfig

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


def epoch_order(images: int, seed: int, epoch: int) -> IntArray:
    """A permutation of ``0..images-1``, shape ``[images]``."""
    return np.random.default_rng([seed, epoch, 0]).permutation(images)


def epoch_transforms(
    images: int, size: int, augment: AugmentConfig, seed: int, epoch: int
) -> FloatArray:
    """One projective transform an image, shape ``[images, 8]``, keyed by (seed, epoch, index).

    Each maps a pixel of the result to where it is read in the source, in TensorFlow's order
    ``(a0, a1, a2, b0, b1, b2, c0, c1)``: ``x' = a0 x + a1 y + a2``, ``y' = b0 x + b1 y + b2``.
    Zoom is about the image's centre; as in Keras's ``RandomZoom`` a factor below 1 enlarges.
    """
    draws = np.random.default_rng([seed, epoch, 1]).uniform(-1, 1, size=(images, 4))
    zoom_y, zoom_x = 1 + augment.zoom * draws[:, 0], 1 + augment.zoom * draws[:, 1]
    shift_y = augment.height_shift * draws[:, 2] * size
    shift_x = augment.width_shift * draws[:, 3] * size
    centre = (size - 1) / 2
    transforms = np.zeros((images, 8), np.float32)
    transforms[:, 0] = zoom_x
    transforms[:, 2] = centre * (1 - zoom_x) - shift_x
    transforms[:, 4] = zoom_y
    transforms[:, 5] = centre * (1 - zoom_y) - shift_y
    return transforms


def training_batches(
    images: npt.NDArray[np.uint8],
    labels: IntArray,
    indices: IntArray,
    *,
    batch_size: int,
    augment: AugmentConfig,
    seed: int,
    epochs: range,
) -> tf.data.Dataset:
    """Shuffled and augmented batches of every epoch in ``epochs``, one after another.

    Args:
        images: ``[N, S, S, C]`` raw pixels, of which ``indices`` train.
        labels: ``[N]``.
        indices: ``[T]``; an epoch gives ``T // batch_size`` whole batches and leaves out the rest
            of its permutation, so that every batch divides among the replicas.

    Returns:
        A data set of ``(uint8 [B, S, S, C], float32 [B, 1])``.
    """
    steps, size = len(indices) // batch_size, images.shape[1]
    with tf.device("CPU:0"):
        pixels = tf.constant(images[indices])
        targets = tf.constant(labels[indices, None], tf.float32)

    def plan() -> Iterator[tuple[IntArray, FloatArray]]:
        for epoch in epochs:
            order = epoch_order(len(indices), seed, epoch)
            transforms = epoch_transforms(len(indices), size, augment, seed, epoch)
            for batch in order[: steps * batch_size].reshape(steps, batch_size):
                yield batch, transforms[batch]

    def read(batch: tf.Tensor, transforms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        chosen = tf.gather(pixels, batch)
        if not augment.identity:
            chosen = warp(chosen, transforms, augment.fill_mode)
        return chosen, tf.gather(targets, batch)

    signature = (
        tf.TensorSpec([batch_size], tf.int64),
        tf.TensorSpec([batch_size, 8], tf.float32),
    )
    batches = tf.data.Dataset.from_generator(plan, output_signature=signature)
    return _unsharded(batches.map(read, num_parallel_calls=tf.data.AUTOTUNE))


def evaluation_batches(
    images: npt.NDArray[np.uint8], indices: IntArray, batch_size: int
) -> tf.data.Dataset:
    """The images of a split in their order, ``uint8 [B, S, S, C]``, in whole batches.

    The last image is repeated to fill the last batch: drop the predictions behind
    ``len(indices)``. A short batch would leave a replica without images, which breaks
    BatchNormalization, and would have Keras trace its graph once more.
    """
    padding = np.repeat(indices[-1:], -len(indices) % batch_size)
    with tf.device("CPU:0"):
        pixels = tf.constant(images[np.concatenate([indices, padding])])
    batches = tf.data.Dataset.from_tensor_slices(pixels).batch(batch_size, drop_remainder=True)
    return _unsharded(batches)


def warp(images: tf.Tensor, transforms: tf.Tensor, fill_mode: str) -> tf.Tensor:
    """Read each image ``[B, S, S, C]`` through its transform ``[B, 8]``, bilinearly."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=fill_mode.upper(),
    )


def _unsharded(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Prefetch, and let a strategy split each batch among its replicas, not the data set."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)
