"""The loop over epochs and steps, which can start between any two steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from xray_hpc.training.checkpoint_store import Position
from xray_hpc.training.strategy import next_batch

CALL_SECONDS = 0.1  # duration of a call of several steps, which can delay the response to a signal
MOST_STEPS = 64
TIMED_STEPS = 4


def run_epochs(
    model: keras.Model,
    batches: tf.data.Dataset,
    callbacks: Sequence[keras.callbacks.Callback],
    *,
    start: Position,
    epochs: int,
    steps: int,
    max_steps: Callable[[], int] = lambda: 1,
) -> None:
    """Train ``model`` as ``model.fit`` does, from ``start`` to the end of the last epoch.

    ``Model.fit`` can start at any epoch, but not within one. Callbacks are called as ``fit`` calls
    them, except that the logs of a batch are tensors: reading one waits for the device.

    Args:
        model: a compiled model.
        batches: the batches from ``start`` on, ``steps`` per epoch.
        callbacks: one of them restores the checkpoint at ``start``: in ``on_train_begin``, and the
            metrics (which every epoch resets) in the first ``on_epoch_begin``.
        start: where to start.
        epochs: number of epochs, counted from the beginning of the training.
        steps: number of steps per epoch.
        max_steps: returns how many steps may run before the next call of the callbacks. Short steps
            run several at a time, without Python in between; the result is the same.
    """
    if start.epoch < epochs:
        _build_metrics(model, batches)
        execute = _StepExecutor(model, batches)
    hooks = keras.callbacks.CallbackList(callbacks, model=model, epochs=epochs, steps=steps)
    model.stop_training = False
    hooks.on_train_begin()
    for epoch in range(start.epoch, epochs):
        model.reset_metrics()
        hooks.on_epoch_begin(epoch)
        step = start.step if epoch == start.epoch else 0
        while step < steps and not model.stop_training:
            hooks.on_train_batch_begin(step)
            count = min(max_steps(), steps - step)
            count, logs = execute(count)
            step += count
            for callback in callbacks:
                callback.on_train_batch_end(step - 1, logs)
        hooks.on_epoch_end(epoch, model.get_metrics_result())
        if model.stop_training:
            break
    hooks.on_train_end()


class _StepExecutor:
    """Run training steps.

    On one device, as many steps per call as take ``CALL_SECONDS``, measured on the first steps.
    """

    def __init__(self, model: keras.Model, batches: tf.data.Dataset) -> None:
        strategy = model.distribute_strategy
        self.iterator = iter(batches)
        self.steps_per_call = self.most_steps = 1
        self.one_device = strategy.num_replicas_in_sync == 1
        self.timed = -1
        self.seconds = 0.0
        train_step = tf.function(model.train_step, reduce_retracing=True)

        def run_step(iterator: Any) -> None:
            strategy.run(train_step, args=(next_batch(iterator, strategy),))

        def run_steps(iterator: Any, count: tf.Tensor) -> dict[str, tf.Tensor]:
            def body(done: tf.Tensor) -> tuple[tf.Tensor]:
                run_step(iterator)
                return (done + 1,)

            if self.one_device:
                tf.while_loop(lambda done: done < count, body, (0,), parallel_iterations=1)
            else:  # Keras crashes in a graph loop on several replicas (keras#18145, keras#19246)
                run_step(iterator)
            metrics: dict[str, tf.Tensor] = model.get_metrics_result()
            return metrics

        self.function = tf.function(run_steps, autograph=False)

    def __call__(self, max_steps: int) -> tuple[int, dict[str, tf.Tensor]]:
        """Run at most ``max_steps``; return how many were run and the metrics after them."""
        count, began = min(max_steps, self.steps_per_call), time.perf_counter()
        logs = self.function(self.iterator, tf.constant(count))
        if self.one_device and self.timed < TIMED_STEPS:
            self._time(began, logs)
        elif self.one_device:
            self._adapt(count, time.perf_counter() - began)
        return count, logs

    def _adapt(self, count: int, seconds: float) -> None:
        """Run fewer steps per call while they are slow (slow disk, busy CPUs).

        A GPU may still be working when the call returns, so the measured number is never exceeded.
        """
        if seconds > 2 * CALL_SECONDS:
            self.steps_per_call = max(1, self.steps_per_call // 2)
        elif seconds < CALL_SECONDS / 2 and count == self.steps_per_call:
            self.steps_per_call = min(self.most_steps, 2 * self.steps_per_call)

    def _time(self, began: float, logs: dict[str, tf.Tensor]) -> None:
        for value in logs.values():
            value.numpy()  # wait for the device
        self.timed += 1
        if self.timed > 0:  # the first step includes tracing and compiling
            self.seconds += time.perf_counter() - began
        if self.timed == TIMED_STEPS:
            fitting = CALL_SECONDS * TIMED_STEPS / self.seconds
            self.steps_per_call = self.most_steps = max(1, min(MOST_STEPS, int(fitting)))


def _build_metrics(model: keras.Model, batches: tf.data.Dataset) -> None:
    """Have Keras build the metrics, as ``fit`` does before the first epoch."""
    zeros = tf.nest.map_structure(
        lambda spec: tf.zeros(spec.shape, spec.dtype), batches.element_spec
    )
    model.fit(tf.data.Dataset.from_tensors(zeros), epochs=0, shuffle=False, verbose=0)
