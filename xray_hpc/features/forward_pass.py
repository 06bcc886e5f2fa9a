"""Compute features in one pass over all images, block by block."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from xray_hpc.config.run_config import RunConfig
from xray_hpc.data.apply_augmentation import Pixels, apply_augmentation
from xray_hpc.data.array_store import Block, is_finite
from xray_hpc.data.array_writer import StoreWriter
from xray_hpc.data.augmentation_parameters import center_crop, draw_augmentations
from xray_hpc.data.dataset import Dataset
from xray_hpc.errors import ConfigError, TrainingDivergedError
from xray_hpc.features.extractor_costs import REFERENCE_SIDE
from xray_hpc.features.model_cut import LayerPath, extractor_model
from xray_hpc.progress_bar import ProgressBar
from xray_hpc.thread_map import available_cores, bounded_thread_map

MAX_BATCH = 64  # images of REFERENCE_SIDE pixels or less

ForwardPass = Callable[[Sequence[Pixels]], list[list[npt.NDArray[Any]]]]
"""From blocks of images, one per replica at most, to the features of each block at each cut."""


def replica_batch_size(side: int) -> int:
    """Return the batch of one replica for images of ``side`` pixels, also the rows of a block."""
    return max(8, min(MAX_BATCH, MAX_BATCH * REFERENCE_SIDE**2 // side**2 // 8 * 8))


@dataclass(frozen=True)
class FeatureSource:
    """What features are computed from: a run, its data set, its full model, and the devices."""

    config: RunConfig
    data: Dataset
    model: keras.Model
    strategy: tf.distribute.Strategy


def compute_blocks(
    writers: Sequence[StoreWriter],
    source: FeatureSource,
    cuts: Sequence[LayerPath],
    on_progress: Callable[[int], None],
) -> None:
    """Compute the missing blocks of all files, each block for all of them at once.

    Every replica computes whole blocks, so that the number of replicas changes no feature.
    Each file has one of ``cuts``; ``on_progress`` is as in ``load_or_compute``.

    Raises:
        ConfigError: the features exceed the range of 16-bit numbers.
        TrainingDivergedError: the features are not finite.
    """
    missing = {block for writer in writers for block in writer.missing}
    todo = [block for block in writers[0].blocks if block in missing]
    forward = _forward_pass(source, cuts)
    replicas = source.strategy.num_replicas_in_sync
    workers = min(replicas, available_cores())
    total = sum(block.stop - block.start for block in writers[0].blocks)
    done = total - sum(block.stop - block.start for block in todo)
    read = _image_reader(source.config, source.data)
    with (
        ProgressBar("computing features of images", total, initial=done) as progress,
        closing(bounded_thread_map(read, todo, workers, ahead=2 * replicas)) as images,
    ):
        pairs = zip(todo, images, strict=True)
        while group := list(islice(pairs, replicas)):
            features = forward([pixels for _, pixels in group])
            for (block, _), block_features in zip(group, features, strict=True):
                for writer, rows in zip(writers, block_features, strict=True):
                    if not writer.written[block.number]:
                        writer.write(block, _cast(rows, writer.specs[block.array].dtype))
                if all(writer.synced for writer in writers):
                    on_progress(min(writer.done for writer in writers))
                progress.advance(block.stop - block.start)


def _cast(rows: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    with np.errstate(over="ignore"):
        cast = rows.astype(dtype)
    if rows.dtype == np.float16 and not np.isfinite(rows).all():
        raise ConfigError(
            "the features exceed the range of mixed_float16; use train.precision=mixed_bfloat16"
        )
    if not np.isfinite(rows).all():
        raise TrainingDivergedError(
            "the frozen layers compute features that are not finite; check their weights"
        )
    if not is_finite(cast):
        raise ConfigError(
            f"the features reach {np.abs(rows).max():g}, which exceeds the range of {dtype}; "
            "use train.features=float32"
        )
    return cast


def _image_reader(config: RunConfig, data: Dataset) -> Callable[[Block], Pixels]:
    """Return a function from a block to its images, ``uint8 [B, S, S, C]``."""
    train, size, side = data.splits["train"], config.data.image_size, config.data.input_size

    @functools.lru_cache(maxsize=2)
    def augmentations(view: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        return draw_augmentations(len(train), size, side, config.augment, config.seed, view)

    def read_training(rows: npt.NDArray[np.int64]) -> Pixels:
        views, indices = divmod(rows, len(train))
        parts = []
        for view in np.unique(views):
            transforms, brightness = augmentations(int(view))
            own = indices[views == view]
            arguments = transforms[own], brightness[own], config.augment, side
            parts.append(apply_augmentation(data.images[train[own]], *arguments))
        return np.concatenate(parts)

    def read(block: Block) -> Pixels:
        rows = np.arange(block.start, block.stop)
        if block.array == "train":
            return read_training(rows)
        return center_crop(data.images[data.splits[block.array][rows]], side)

    return read


def _forward_pass(source: FeatureSource, cuts: Sequence[LayerPath]) -> ForwardPass:
    """Compile the forward pass from images to the features at each cut."""
    extractor, strategy = extractor_model(source.model, cuts), source.strategy
    batch = replica_batch_size(source.config.data.input_size)

    def extract(pixels: tf.Tensor) -> list[tf.Tensor]:
        outputs: list[tf.Tensor] = keras.tree.flatten(extractor(pixels, training=False))
        return outputs

    compute = tf.function(lambda pixels: strategy.run(extract, [pixels]))

    def forward(blocks: Sequence[Pixels]) -> list[list[npt.NDArray[Any]]]:
        def replica_input(context: Any) -> tf.Tensor:
            pixels = blocks[min(context.replica_id_in_sync_group, len(blocks) - 1)]
            padding = np.repeat(pixels[-1:], batch - len(pixels), axis=0)
            return tf.convert_to_tensor(np.concatenate([pixels, padding]))

        outputs = compute(strategy.experimental_distribute_values_from_function(replica_input))
        by_replica = [strategy.experimental_local_results(output) for output in outputs]
        return [
            [parts[replica].numpy()[: len(pixels)] for parts in by_replica]
            for replica, pixels in enumerate(blocks)
        ]

    return forward
