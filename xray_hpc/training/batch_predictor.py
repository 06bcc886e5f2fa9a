"""Predict the same batches repeatedly while a model is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf


class Predictor:
    """Compute the outputs of ``model`` for fixed batches, with its current weights.

    ``Model.predict`` creates two iterators over the batches on every call, which takes most of the
    time on a small split; here a single iterator repeats the batches.

    Args:
        model: the model.
        batches: full batches; the last one may be padded.
        rows: number of rows without the padding.
    """

    def __init__(self, model: keras.Model, batches: tf.data.Dataset, rows: int) -> None:
        strategy = model.distribute_strategy
        self._rows = rows
        self._steps = int(batches.cardinality())
        distributed = strategy.experimental_distribute_dataset(batches.repeat())
        self._iterator: Iterator[Any] = iter(distributed)

        def step(iterator: Iterator[Any]) -> tuple[tf.Tensor, ...]:
            outputs = strategy.run(lambda batch: model(batch, training=False), (next(iterator),))
            parts: tuple[tf.Tensor, ...] = strategy.experimental_local_results(outputs)
            return parts

        self._step = tf.function(step)

    def __call__(self, after_batch: Callable[[], None] = lambda: None) -> npt.NDArray[Any]:
        """Return the outputs ``[rows, ...]``; call ``after_batch`` after each batch."""
        outputs: list[tf.Tensor] = []
        for _ in range(self._steps):
            outputs += self.predict_batch()
            after_batch()
        return np.concatenate([output.numpy() for output in outputs])[: self._rows]

    def predict_batch(self) -> tuple[tf.Tensor, ...]:
        """Return the outputs of the next batch, one tensor per replica."""
        parts: tuple[tf.Tensor, ...] = self._step(self._iterator)
        return parts
