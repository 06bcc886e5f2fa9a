"""The loop over epochs and steps, which begins wherever an earlier process left off."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from xray_hpc.training.checkpoint import Position


def train(
    model: keras.Model,
    batches: tf.data.Dataset,
    callbacks: Sequence[keras.callbacks.Callback],
    *,
    start: Position,
    epochs: int,
    steps: int,
) -> None:
    """Train ``model`` as ``model.fit`` does, from ``start`` to the end of epoch ``epochs``.

    ``Model.fit`` begins with any epoch, but not within one. Callbacks are called as it calls them,
    but for the logs of a batch: these are tensors, and to read one is to wait for the device.

    Args:
        batches: those that are left from ``start`` on, ``steps`` of each epoch.
        callbacks: one of them puts back the state at ``start``, as training begins and (that of
            the metrics, which each epoch resets) as its first epoch does.
    """
    if start.epoch < epochs:
        _prepare(model, batches)
        iterator = iter(model.distribute_strategy.experimental_distribute_dataset(batches))
    hooks = keras.callbacks.CallbackList(callbacks, model=model, epochs=epochs, steps=steps)
    model.stop_training = False
    hooks.on_train_begin()
    for epoch in range(start.epoch, epochs):
        model.reset_metrics()
        hooks.on_epoch_begin(epoch)
        for step in range(start.step if epoch == start.epoch else 0, steps):
            hooks.on_train_batch_begin(step)
            logs = model.train_function(iterator)
            for callback in callbacks:
                callback.on_train_batch_end(step, logs)
            if model.stop_training:
                break
        hooks.on_epoch_end(epoch, model.get_metrics_result())
        if model.stop_training:
            break
    hooks.on_train_end()


def _prepare(model: keras.Model, batches: tf.data.Dataset) -> None:
    """Have Keras make the metrics and the function of a step, as ``fit`` does before any epoch."""
    zeros = tf.nest.map_structure(lambda of: tf.zeros(of.shape, of.dtype), batches.element_spec)
    model.fit(tf.data.Dataset.from_tensors(zeros), epochs=0, shuffle=False, verbose=0)
