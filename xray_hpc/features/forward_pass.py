"""Compute features: one pass of all images through the feature extractor, in blocks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from xray_hpc.config.run_config import RunConfig
from xray_hpc.data.array_store import Block, StoreWriter
from xray_hpc.data.augmentation import center_crop, draw_augmentations
from xray_hpc.data.dataset import Dataset
from xray_hpc.data.image_transform import Pixels, apply_augmentation
from xray_hpc.errors import ConfigError
from xray_hpc.features.cost import SIDE
from xray_hpc.progress_bar import ProgressBar
from xray_hpc.thread_map import available_cores, bounded_thread_map

BATCH = 64  # images, fewer of large ones


def batch_of(side: int) -> int:
    """How many images of ``side`` pixels a replica is given at a time: a block of the files."""
    return max(8, min(BATCH, BATCH * SIDE**2 // side**2 // 8 * 8))


def fill(
    files: Sequence[StoreWriter],
    config: RunConfig,
    data: Dataset,
    part: keras.Model,
    strategy: tf.distribute.Strategy,
    told: Callable[[int], None],
) -> None:
    """Compute the blocks that any of ``files`` lacks, each for all of them at once.

    Every replica computes whole blocks, so that their number changes no output.

    Args:
        files: they have the same blocks, and one output of ``part`` each.
        part: the feature extractors as one model.
        told: see ``features.load``.

    Raises:
        UserError: 16 bits cannot hold the outputs.
    """
    missing = {block for file in files for block in file.missing}
    todo = [block for block in files[0].blocks if block in missing]
    forward = _forward(part, strategy, batch_of(config.data.input_size))
    replicas = strategy.num_replicas_in_sync
    workers = min(replicas, available_cores())
    total, left = (
        sum(block.stop - block.start for block in blocks) for blocks in (files[0].blocks, todo)
    )
    with (
        ProgressBar(
            "computing the cached features of images", total, begun=total - left
        ) as progress,
        closing(
            bounded_thread_map(_pixels(config, data), todo, workers, ahead=2 * replicas)
        ) as images,
    ):
        pairs = zip(todo, images, strict=True)
        while group := list(islice(pairs, replicas)):
            outputs = forward([pixels for _, pixels in group])
            for (block, _), of_block in zip(group, outputs, strict=True):
                for file, rows in zip(files, of_block, strict=True):
                    if not file.written[block.number]:
                        file.write(block, _cast(rows, file.dtype(block)))
                if all(file.synced for file in files):
                    told(min(file.done for file in files))
                progress.advance(block.stop - block.start)


def _cast(rows: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    with np.errstate(over="ignore"):
        cast = rows.astype(dtype)
    if rows.dtype == np.float16 and not np.isfinite(rows).all():
        raise ConfigError(
            "the cached features are more than mixed_float16 can compute; "
            "use train.precision=mixed_bfloat16"
        )
    if np.isfinite(rows).all() and not np.isfinite(cast).all():
        most = np.abs(rows).max()
        raise ConfigError(
            f"the cached features are up to {most:g}, which {dtype} cannot hold; "
            "use train.features=float32"
        )
    return cast


def _pixels(config: RunConfig, data: Dataset) -> Callable[[Block], Pixels]:
    """A function that gives the images of a block: ``uint8 [B, s, s, C]``."""
    train, size, cut = data.splits["train"], config.data.image_size, config.data.input_size

    @functools.lru_cache(maxsize=2)
    def changes(view: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        return draw_augmentations(len(train), size, cut, config.augment, config.seed, view)

    def trained(rows: npt.NDArray[np.int64]) -> Pixels:
        view, row = divmod(rows, len(train))
        parts = []
        for number in np.unique(view):
            transforms, brightness = changes(int(number))
            own = row[view == number]
            images = data.images[train[own]]
            parts.append(
                apply_augmentation(images, transforms[own], brightness[own], config.augment, cut)
            )
        return np.concatenate(parts)

    def images(block: Block) -> Pixels:
        rows = np.arange(block.start, block.stop)
        if block.array == "train":
            return trained(rows)
        return center_crop(data.images[data.splits[block.array][rows]], cut)

    return images


def _forward(
    part: keras.Model, strategy: tf.distribute.Strategy, batch: int
) -> Callable[[Sequence[Pixels]], list[list[npt.NDArray[Any]]]]:
    """A function from blocks of images to the outputs of ``part`` for each of them.

    It takes a block a replica at most, each of ``batch`` images or fewer.
    """
    compute = tf.function(
        lambda pixels: strategy.run(
            lambda own: keras.tree.flatten(part(own, training=False)), [pixels]
        )
    )

    def forward(given: Sequence[Pixels]) -> list[list[npt.NDArray[Any]]]:
        full = [
            np.concatenate([pixels, np.repeat(pixels[-1:], batch - len(pixels), axis=0)])
            for pixels in given
        ]

        def of(context: Any) -> tf.Tensor:
            return tf.convert_to_tensor(full[min(context.replica_id_in_sync_group, len(full) - 1)])

        outputs = compute(strategy.experimental_distribute_values_from_function(of))
        by_replica = [strategy.experimental_local_results(output) for output in outputs]
        return [
            [parts[number].numpy()[: len(pixels)] for parts in by_replica]
            for number, pixels in enumerate(given)
        ]

    return forward
