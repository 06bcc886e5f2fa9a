"""Capture, save and restore the state of a training, so that it resumes exactly.

The order of the images and their augmentation are not part of a checkpoint: both are functions of
the seed and the epoch.
"""

from __future__ import annotations

import copy
import logging
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NoReturn

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from xray_hpc.config.train_config import CheckpointConfig
from xray_hpc.errors import DataError
from xray_hpc.models.layer_graph import flat_layers
from xray_hpc.training import signals
from xray_hpc.training.checkpoint_store import Arrays, Checkpoint, CheckpointStore, Position
from xray_hpc.training.epoch_callbacks import BestWeights, Logs

logger = logging.getLogger(__name__)

# Attributes to save, by callback class. Not all of them: min_delta, for one, changes its sign each
# time that a callback starts.
SAVED_ATTRIBUTES = {
    "EarlyStopping": ("wait", "best", "best_epoch", "stopped_epoch"),
    "ReduceLROnPlateau": ("wait", "best", "cooldown_counter"),
    "BestWeights": ("epoch", "best"),
    "EpochTables": ("history",),
}


class CheckpointCallback(keras.callbacks.Callback):
    """Save checkpoints at intervals and at a signal, and restore one when training begins.

    The state is copied between two steps and written by a thread while training continues; a new
    checkpoint is not started before the last one is written. After a signal and after the last
    epoch, training waits for the write.

    This callback comes last, because the others reset themselves in ``on_train_begin``. Use it as a
    context manager, which ends the writing thread.

    Args:
        store: where checkpoints are saved.
        interval: how often.
        best_weights: the callback among ``callbacks`` that holds the best weights.
        callbacks: the callbacks before this one.
        checkpoint: what to resume from; ``None`` starts at the first epoch.
        clock: returns the training time in seconds, over all attempts.
        epochs, steps: number of epochs, and of steps per epoch.
    """

    def __init__(
        self,
        store: CheckpointStore,
        interval: CheckpointConfig,
        *,
        best_weights: BestWeights,
        callbacks: Sequence[keras.callbacks.Callback],
        checkpoint: Checkpoint | None,
        clock: Callable[[], float],
        epochs: int,
        steps: int,
    ) -> None:
        super().__init__()
        self.store = store
        self.interval = interval
        self.best_weights = best_weights
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.clock = clock
        self.epochs = epochs
        self.steps = steps
        self.position = checkpoint.position if checkpoint else Position(0, 0)
        self._steps_since, self._last_time = 0, time.monotonic()
        self._unsaved = False
        self._writer = ThreadPoolExecutor(max_workers=1)
        self._write: Future[None] | None = None
        self._written_position: Position | None = None

    def __enter__(self) -> CheckpointCallback:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.shutdown()
        self._release_signals()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if self.checkpoint is not None:
            check_fits(self.checkpoint, self.model, self.callbacks, self.store)
            self.best_weights.weights = restore(self.checkpoint, self.model, self.callbacks)
            if not self.position.step:
                self.checkpoint = None  # its arrays are as large as the model
        self._last_time = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.checkpoint is not None:
            restore_metrics(self.checkpoint, self.model)
            self.checkpoint = None

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if not self._unsaved:
            signals.UNSAVED_WORK.acquire()
            self._unsaved = True
        # An earlier attempt may have completed the first steps of the epoch.
        self._steps_since += batch + 1 - self.position.step
        self.position = Position(self.position.epoch, batch + 1)
        self.save_if_due()

    def max_steps(self) -> int:
        """Return how many steps may run before a checkpoint is due by their number."""
        if self.interval.steps is None:
            return sys.maxsize
        return max(self.interval.steps - self._steps_since, 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.position = Position(epoch + 1, 0)
        if self.model.stop_training or epoch + 1 == self.epochs:
            self._save()
            self._release_signals()
        else:
            self.save_if_due()

    def save_if_due(self) -> None:
        """Start saving a checkpoint if one is due; after a signal, save it and exit.

        Call it only while nothing changes the model or the callbacks.
        """
        if self._unsaved and signals.received_signal():
            self._save_and_exit()
        elif self._due() and self._idle():
            self._start_saving()

    def _due(self) -> bool:
        steps, seconds = self.interval.steps, self.interval.seconds
        return self.position != self._written_position and (
            (steps is not None and self._steps_since >= steps)
            or (seconds is not None and time.monotonic() - self._last_time >= seconds)
        )

    def _idle(self) -> bool:
        """Return whether no write is in progress; raise the error of the last write, if any."""
        if self._write is None:
            return True
        if not self._write.done():
            return False
        self._write.result()
        return True

    def _start_saving(self) -> None:
        """Copy the state and queue it for the writing thread."""
        checkpoint = capture(
            self.model, self.callbacks, self.best_weights.weights, self.position, self.clock()
        )
        self._write = self._writer.submit(self.store.save, checkpoint)
        self._written_position = self.position
        self._steps_since, self._last_time = 0, time.monotonic()

    def _save(self) -> None:
        """Save a checkpoint of this position and wait until it is on disk."""
        if self.position != self._written_position:
            self._start_saving()
        assert self._write is not None
        self._write.result()

    def _save_and_exit(self) -> NoReturn:
        signal = signals.received_signal()
        assert signal is not None
        position = self.position.describe(self.epochs, self.steps)
        try:
            self._save()
        except OSError as error:
            logger.error(
                "Received %s; the checkpoint at %s cannot be written (%s); progress since "
                "the previous checkpoint is lost.",
                *(signal.name, position, error),
            )
        else:
            logger.info("Received %s; checkpoint saved at %s.", signal.name, position)
        self._unsaved = False
        signals.exit_after_signal()

    def _release_signals(self) -> None:
        if self._unsaved:
            self._unsaved = False
            signals.UNSAVED_WORK.release()


def capture(
    model: keras.Model,
    callbacks: Sequence[keras.callbacks.Callback],
    best_weights: Arrays | None,
    position: Position,
    seconds: float,
) -> Checkpoint:
    """Return a copy of the state of ``model`` and ``callbacks`` at ``position``.

    ``best_weights`` is what ``model.get_weights()`` returned in the best epoch; it is not copied.
    """
    arrays = {
        "model": [_copy(variable) for variable in _changing_variables(model)],
        "optimizer": [_copy(variable) for variable in model.optimizer.variables],
        "metrics": [_copy(variable) for variable in model.metrics_variables],
    }
    if best_weights is not None:
        arrays["best"] = [best_weights[i] for i in _changing_weights(model)]
    attributes = {
        name: {item: copy.deepcopy(getattr(callback, item)) for item in SAVED_ATTRIBUTES[name]}
        for callback in callbacks
        if (name := type(callback).__name__) in SAVED_ATTRIBUTES
    }
    return Checkpoint(position, bool(model.stop_training), seconds, attributes, arrays)


def check_fits(
    checkpoint: Checkpoint,
    model: keras.Model,
    callbacks: Sequence[keras.callbacks.Callback],
    store: CheckpointStore,
) -> None:
    """Raise ``DataError`` unless a checkpoint has exactly the state that it replaces."""
    variables = {"model": _changing_variables(model), "optimizer": model.optimizer.variables}
    if checkpoint.position.step:  # each epoch resets the metrics
        variables["metrics"] = model.metrics_variables
    if "best" in checkpoint.arrays:
        variables["best"] = [model.weights[i] for i in _changing_weights(model)]
    names = [type(callback).__name__ for callback in callbacks]
    attributes = {name: {*SAVED_ATTRIBUTES[name]} for name in names if name in SAVED_ATTRIBUTES}
    if attributes != {name: set(saved) for name, saved in checkpoint.callbacks.items()} or any(
        [(tuple(variable.shape), variable.dtype) for variable in group]
        != [(array.shape, array.dtype.name) for array in checkpoint.arrays.get(name, [])]
        for name, group in variables.items()
    ):
        raise DataError(
            "the checkpoint has other variables than the model; remove "
            f"{store.folder} to train from the start"
        )


def restore(
    checkpoint: Checkpoint, model: keras.Model, callbacks: Sequence[keras.callbacks.Callback]
) -> Arrays | None:
    """Restore all but the metrics; return the best weights so far, as ``get_weights()`` does."""
    _assign(_changing_variables(model), checkpoint.arrays["model"])
    _assign(model.optimizer.variables, checkpoint.arrays["optimizer"])
    for callback in callbacks:
        for attribute, value in checkpoint.callbacks.get(type(callback).__name__, {}).items():
            setattr(callback, attribute, value)
    if "best" not in checkpoint.arrays:
        return None
    best: Arrays = model.get_weights()
    for i, array in zip(_changing_weights(model), checkpoint.arrays["best"], strict=True):
        best[i] = array
    return best


def restore_metrics(checkpoint: Checkpoint, model: keras.Model) -> None:
    """Restore the running totals of the epoch's training metrics."""
    _assign(model.metrics_variables, checkpoint.arrays["metrics"])


def _assign(variables: Sequence[keras.Variable], arrays: Arrays) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _copy(variable: keras.Variable) -> npt.NDArray[np.generic]:
    # Not keras.ops.convert_to_numpy: each replica holds a part of a metric, and this adds them up.
    return np.array(tf.convert_to_tensor(variable.value))


def _changing_variables(model: keras.Model) -> list[keras.Variable]:
    """Return the variables that training can change, random seeds included.

    Most of a pretrained backbone is frozen; its weights are read from their file again.
    """
    frozen = _frozen_ids(model)
    return [variable for variable in model.variables if id(variable) not in frozen]


def _changing_weights(model: keras.Model) -> list[int]:
    frozen = _frozen_ids(model)
    return [i for i, weight in enumerate(model.weights) if id(weight) not in frozen]


def _frozen_ids(model: keras.Model) -> set[int]:
    # Not layer.variables: a frozen Dropout still draws random numbers.
    layers = [layer for layer in flat_layers(model) if not layer.trainable]
    return {id(weight) for layer in layers for weight in layer.weights}
