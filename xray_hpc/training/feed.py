"""What a model is fed: images, or what its feature extractor has made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from xray_hpc.config.run_config import RunConfig
from xray_hpc.data.augmentation import epoch_order, epoch_views, sample_weights
from xray_hpc.data.dataset import Dataset
from xray_hpc.data.input_pipeline import (
    encode_targets,
    evaluation_batches,
    padded_batches,
    planned_batches,
    prefetch_unsharded,
    training_batches,
)
from xray_hpc.data.tf_callbacks import callback_guard
from xray_hpc.features.store import Arrays
from xray_hpc.models.registry import output


class Feed(Protocol):
    """Batches of a data set."""

    def training(self, epochs: range, first_step: int = 0) -> tf.data.Dataset:
        """Those of ``epochs``, the first from its step ``first_step`` on.

        See ``batches.training_batches``.
        """

    def evaluation(self, split: str) -> tf.data.Dataset:
        """Those of a split in its order, the last one filled up.

        See ``batches.evaluation_batches``.
        """


@dataclass(frozen=True)
class Images:
    """Images, changed as they come."""

    config: RunConfig
    data: Dataset

    def training(self, epochs: range, first_step: int = 0) -> tf.data.Dataset:
        config, data = self.config, self.data
        return training_batches(
            data.images,
            data.labels,
            data.splits["train"],
            targets=output(config.model, len(data.classes)),
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
        return evaluation_batches(
            self.data.images,
            self.data.splits[split],
            self.config.train.batch_size,
            self.config.data.input_size,
        )


@dataclass(frozen=True)
class Outputs:
    """What a feature extractor has made of the images: of so many views each, ``augment.views``."""

    config: RunConfig
    data: Dataset
    arrays: Arrays

    def training(self, epochs: range, first_step: int = 0) -> tf.data.Dataset:
        config, views, classes = self.config, self.config.augment.views, len(self.data.classes)
        assert isinstance(views, int)
        labels = self.data.labels[self.data.splits["train"]]
        answers = encode_targets(labels, output(config.model, classes), classes)
        weights = sample_weights(labels)

        def plan(epoch: int) -> tuple[npt.NDArray[Any], ...]:
            order = epoch_order(labels, config.train.balance, config.seed, epoch)
            rows = epoch_views(order, views, epoch) * len(labels) + order
            return rows, answers[order], weights[order]

        read = _reader(self.arrays["train"], config.train.batch_size)

        def fed(rows: tf.Tensor, answer: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, ...]:
            weighed = config.train.balance == "class_weights"
            return (read(rows), answer, weight) if weighed else (read(rows), answer)

        batches = planned_batches(plan, epochs, config.train.batch_size, first_step)
        return prefetch_unsharded(batches.map(fed, num_parallel_calls=tf.data.AUTOTUNE))

    def evaluation(self, split: str) -> tf.data.Dataset:
        outputs, size = self.arrays[split], self.config.train.batch_size
        batches = tf.data.Dataset.from_tensor_slices(padded_batches(np.arange(len(outputs)), size))
        return prefetch_unsharded(
            batches.map(_reader(outputs, size), num_parallel_calls=tf.data.AUTOTUNE)
        )


def _reader(outputs: npt.NDArray[Any], batch_size: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function of a graph that reads rows of ``outputs`` where they lie."""

    def read_rows(rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        with callback_guard() as useful:
            return np.asarray(outputs[rows if useful else np.zeros_like(rows)])

    def read(rows: tf.Tensor) -> tf.Tensor:
        # It only reads: TensorFlow need not have one call wait for another.
        batch = tf.numpy_function(read_rows, [rows], outputs.dtype, stateful=False)
        batch.set_shape((batch_size, *outputs.shape[1:]))
        return batch

    return read
