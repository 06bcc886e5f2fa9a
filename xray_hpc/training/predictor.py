"""What a model says of the same batches, again and again as it is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf


class Predictor:
    """The outputs of ``model``, as its weights are then, for ``rows`` rows in whole ``batches``.

    ``Model.predict`` makes two iterators over the batches each time, on which a small split spends
    most of its time. Here one goes round.
    """

    def __init__(self, model: keras.Model, batches: tf.data.Dataset, rows: int) -> None:
        strategy = model.distribute_strategy
        self._rows = rows
        self._steps = int(batches.cardinality())
        distributed = strategy.experimental_distribute_dataset(batches.repeat())
        self._iterator: Iterator[Any] = iter(distributed)

        def step(iterator: Iterator[Any]) -> tuple[tf.Tensor, ...]:
            outputs = strategy.run(lambda own: model(own, training=False), (next(iterator),))
            parts: tuple[tf.Tensor, ...] = strategy.experimental_local_results(outputs)
            return parts

        self._step = tf.function(step)

    def __call__(self, between: Callable[[], None] = lambda: None) -> npt.NDArray[Any]:
        """The outputs ``[rows, ...]``; ``between`` is called after each batch."""
        outputs: list[tf.Tensor] = []
        for _ in range(self._steps):
            outputs += self.predict_batch()
            between()
        return np.concatenate([output.numpy() for output in outputs])[: self._rows]

    def predict_batch(self) -> tuple[tf.Tensor, ...]:
        """The outputs of the next batch, by replica."""
        parts: tuple[tf.Tensor, ...] = self._step(self._iterator)
        return parts
