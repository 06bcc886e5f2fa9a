"""The input of a model in training: images, or cached features of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from xray_hpc.config.run_config import RunConfig
from xray_hpc.data.augmentation_parameters import epoch_order, epoch_views, sample_weights
from xray_hpc.data.dataset import Dataset
from xray_hpc.data.input_pipeline import (
    encode_targets,
    evaluation_batches,
    map_ahead,
    padded_batches,
    planned_batches,
    training_batches,
)
from xray_hpc.data.shutdown_guard import callback_guard
from xray_hpc.features.feature_store import FeatureArrays


@dataclass(frozen=True)
class ImageFeed:
    """Batches of images, augmented on the fly: see ``data.input_pipeline``."""

    config: RunConfig
    data: Dataset

    def training(self, epochs: range, first_step: int = 0) -> tf.data.Dataset:
        config, data = self.config, self.data
        return training_batches(
            data.images,
            data.labels,
            data.splits["train"],
            targets=config.model.output,
            classes=len(data.classes),
            batch_size=config.train.batch_size,
            input_size=config.data.input_size,
            augment=config.augment,
            balance=config.train.balance,
            seed=config.seed,
            epochs=epochs,
            first_step=first_step,
        )

    def evaluation(self, split: str) -> tf.data.Dataset:
        config, data = self.config, self.data
        size, side = config.train.batch_size, config.data.input_size
        return evaluation_batches(data.images, data.splits[split], size, side)


@dataclass(frozen=True)
class FeatureFeed:
    """Batches of cached features.

    Attributes:
        config: the run; ``augment.views`` is the number of augmented views of a training image.
        data: its data set.
        arrays: the features by split; those of the training images hold one view after another.
    """

    config: RunConfig
    data: Dataset
    arrays: FeatureArrays

    def training(self, epochs: range, first_step: int = 0) -> tf.data.Dataset:
        config, views, classes = self.config, self.config.augment.views, len(self.data.classes)
        assert views is not None
        labels = self.data.labels[self.data.splits["train"]]
        targets = encode_targets(labels, config.model.output, classes)
        weights = sample_weights(labels)
        weighted = config.train.balance == "class_weights"

        def epoch_rows(epoch: int) -> tuple[npt.NDArray[Any], ...]:
            order = epoch_order(labels, config.train.balance, config.seed, epoch)
            rows = epoch_views(order, views, epoch) * len(labels) + order
            return rows, targets[order], weights[order]

        read = _row_reader(self.arrays["train"], config.train.batch_size)

        def load(rows: tf.Tensor, target: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return (read(rows), target, weight) if weighted else (read(rows), target)

        batches = planned_batches(epoch_rows, epochs, config.train.batch_size, first_step)
        return map_ahead(batches, load)

    def evaluation(self, split: str) -> tf.data.Dataset:
        features, size = self.arrays[split], self.config.train.batch_size
        batches = tf.data.Dataset.from_tensor_slices(padded_batches(np.arange(len(features)), size))
        return map_ahead(batches, _row_reader(features, size))


Feed = ImageFeed | FeatureFeed
"""Batches of a data set: ``training`` from a step on, and ``evaluation`` of a split in order."""


def _row_reader(features: npt.NDArray[Any], batch_size: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a graph function that reads rows of a memory-mapped array."""

    def read_rows(rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        with callback_guard() as useful:
            return np.asarray(features[rows if useful else np.zeros_like(rows)])

    def read(rows: tf.Tensor) -> tf.Tensor:
        # Not stateful: TensorFlow may run several calls at once.
        batch = tf.numpy_function(read_rows, [rows], features.dtype, stateful=False)
        batch.set_shape((batch_size, *features.shape[1:]))
        return batch

    return read
