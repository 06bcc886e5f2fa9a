"""The loop over epochs and steps, which begins wherever an earlier process left off."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from xray_hpc.training.checkpoint import Position

CALL_SECONDS = 0.1  # that a call of several steps takes, and a signal may wait for
MOST_STEPS = 64
TIMED_STEPS = 4


def train(
    model: keras.Model,
    batches: tf.data.Dataset,
    callbacks: Sequence[keras.callbacks.Callback],
    *,
    start: Position,
    epochs: int,
    steps: int,
    most: Callable[[], int] = lambda: 1,
) -> None:
    """Train ``model`` as ``model.fit`` does, from ``start`` to the end of epoch ``epochs``.

    ``Model.fit`` begins with any epoch, but not within one. Callbacks are called as it calls them,
    but for the logs of a batch: these are tensors, and to read one is to wait for the device.

    Args:
        batches: those that are left from ``start`` on, ``steps`` of each epoch.
        callbacks: one of them puts back the state at ``start``, as training begins and (that of
            the metrics, which each epoch resets) as its first epoch does.
        most: how many steps there may be before the callbacks are called again. Short ones are
            done several at a time, without Python between them, which changes no result.
    """
    if start.epoch < epochs:
        _prepare(model, batches)
        execute = _Execute(model, batches)
    hooks = keras.callbacks.CallbackList(callbacks, model=model, epochs=epochs, steps=steps)
    model.stop_training = False
    hooks.on_train_begin()
    for epoch in range(start.epoch, epochs):
        model.reset_metrics()
        hooks.on_epoch_begin(epoch)
        step = start.step if epoch == start.epoch else 0
        while step < steps and not model.stop_training:
            hooks.on_train_batch_begin(step)
            count = min(most(), steps - step)
            count, logs = execute(count)
            step += count
            for callback in callbacks:
                callback.on_train_batch_end(step - 1, logs)
        hooks.on_epoch_end(epoch, model.get_metrics_result())
        if model.stop_training:
            break
    hooks.on_train_end()


class _Execute:
    """Do steps: on one device so many at a time as take ``CALL_SECONDS``, measured on the first."""

    def __init__(self, model: keras.Model, batches: tf.data.Dataset) -> None:
        strategy = model.distribute_strategy
        self.iterator: Iterator[Any] = iter(strategy.experimental_distribute_dataset(batches))
        self.pace = self.fitting = 1
        self.alone = strategy.num_replicas_in_sync == 1
        self.timed = -1
        self.seconds = 0.0
        one = tf.function(model.train_step, reduce_retracing=True)

        def step(iterator: Any) -> None:
            strategy.run(one, args=(next(iterator),))

        def several(iterator: Any, count: tf.Tensor) -> dict[str, tf.Tensor]:
            def body(done: tf.Tensor) -> tuple[tf.Tensor]:
                step(iterator)
                return (done + 1,)

            if self.alone:
                tf.while_loop(lambda done: done < count, body, (0,), parallel_iterations=1)
            else:  # in a loop of the graph those of Keras crash (keras#18145, keras#19246)
                step(iterator)
            metrics: dict[str, tf.Tensor] = model.get_metrics_result()
            return metrics

        self.function = tf.function(several, autograph=False)

    def __call__(self, most: int) -> tuple[int, dict[str, tf.Tensor]]:
        """Do at most so many steps; give how many, and what the metrics are then."""
        count, began = min(most, self.pace), time.perf_counter()
        logs = self.function(self.iterator, tf.constant(count))
        if self.alone and self.timed < TIMED_STEPS:
            self._time(began, logs)
        elif self.alone:
            self._adapt(count, time.perf_counter() - began)
        return count, logs

    def _adapt(self, count: int, seconds: float) -> None:
        """Do fewer at a time while they are slow: rows may come from the disk, or others compute.

        A GPU may still be at work when the call is over, so that there are never more than fit.
        """
        if seconds > 2 * CALL_SECONDS:
            self.pace = max(1, self.pace // 2)
        elif seconds < CALL_SECONDS / 2 and count == self.pace:
            self.pace = min(self.fitting, 2 * self.pace)

    def _time(self, began: float, logs: dict[str, tf.Tensor]) -> None:
        for value in logs.values():
            value.numpy()  # wait for the device
        self.timed += 1
        if self.timed > 0:  # the first step is traced and compiled in its time
            self.seconds += time.perf_counter() - began
        if self.timed == TIMED_STEPS:
            fitting = CALL_SECONDS * TIMED_STEPS / self.seconds
            self.pace = self.fitting = max(1, min(MOST_STEPS, int(fitting)))


def _prepare(model: keras.Model, batches: tf.data.Dataset) -> None:
    """Have Keras make the metrics, as ``fit`` does before any epoch."""
    zeros = tf.nest.map_structure(lambda of: tf.zeros(of.shape, of.dtype), batches.element_spec)
    model.fit(tf.data.Dataset.from_tensors(zeros), epochs=0, shuffle=False, verbose=0)
