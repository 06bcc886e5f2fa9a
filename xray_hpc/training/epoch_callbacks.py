"""Keras callbacks for the end of an epoch: validation, best weights, tables, divergence."""

from __future__ import annotations

import math
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from xray_hpc.config.train_config import TrainConfig
from xray_hpc.errors import TrainingDivergedError
from xray_hpc.metrics import Floats, split_metrics
from xray_hpc.records.atomic_files import write_csv
from xray_hpc.records.paths import RunPaths

Logs = MutableMapping[str, Any]


class Validation(keras.callbacks.Callback):
    """Add ``val_loss``, ``val_accuracy`` and ``val_auc`` to the logs, from one prediction.

    Place it before the callbacks that monitor them. Keras's own validation crashes or weights
    images unequally when a batch does not divide among the replicas.

    Args:
        predict: returns the logits ``[N, K]`` of the validation images.
        labels: their class indices ``[N]``.
        classes: the K class names. ``val_auc`` is NaN where the images do not define it.
    """

    def __init__(
        self, predict: Callable[[], Floats], labels: npt.NDArray[np.int64], classes: Sequence[str]
    ) -> None:
        super().__init__()
        self.predict, self.labels, self.classes = predict, labels, classes

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logits = self.predict()
        if not np.isfinite(logits).all():
            raise divergence_error(self.model, f"NaN validation scores after epoch {epoch + 1}")
        metrics = split_metrics(self.labels, logits, self.classes)
        assert logs is not None
        logs["val_loss"], logs["val_accuracy"] = metrics.loss, metrics.accuracy
        logs["val_auc"] = math.nan if metrics.auc is None else metrics.auc


class BestWeights(keras.callbacks.Callback):
    """Restore the weights of the best epoch when training ends; of equal epochs, the first.

    Args:
        monitor: ``val_loss``, ``val_accuracy`` or ``val_auc``. With ``last`` the model retains the
            weights of the last epoch, and ``on_best`` goes by the lowest ``val_loss``.
        on_best: called with the epoch whenever it is the best so far.

    Attributes:
        epoch: the epoch whose weights the model ends with, from 0 as Keras counts.
    """

    def __init__(self, monitor: str, on_best: Callable[[int], None] | None = None) -> None:
        super().__init__()
        self.last = monitor == "last"
        self.monitor = "val_loss" if self.last else monitor
        self.on_best = on_best
        self.epoch = 0
        self.best = math.inf
        self.weights: list[npt.NDArray[Any]] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        assert logs is not None
        sign = 1 if monitor_mode(self.monitor) == "min" else -1
        value = sign * logs[self.monitor]
        if self.last:
            self.epoch = epoch
        if not value < self.best:
            return
        self.best = value
        if not self.last:
            self.epoch, self.weights = epoch, self.model.get_weights()
        if self.on_best is not None:
            self.on_best(epoch)

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.weights is not None:
            self.model.set_weights(self.weights)


class EpochTables(keras.callbacks.Callback):
    """Record the history, and rewrite the per-epoch CSV files of the run after each epoch.

    Here epochs count from 0, as in the tables of the tutorials; everywhere else from 1.
    """

    METRICS = ("train_accuracy", "val_accuracy", "train_loss", "val_loss", "val_auc")

    def __init__(self, paths: RunPaths, model_name: str) -> None:
        super().__init__()
        self.paths = paths
        self.model_name = model_name
        self.history: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        assert logs is not None
        metrics = {name: float(logs[name.removeprefix("train_")]) for name in self.METRICS}
        metrics["learning_rate"] = float(logs["learning_rate"])
        self.history.append({"epoch": epoch} | metrics)
        self._write()

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._write()  # a resumed run may have no epoch left, and lack the files

    def _write(self) -> None:
        table = pd.DataFrame(self.history)
        accuracy = self.paths.accuracy(self.model_name)
        write_csv(accuracy, table[["epoch", "train_accuracy", "val_accuracy"]])
        write_csv(self.paths.loss(self.model_name), table[["epoch", "train_loss", "val_loss"]])
        write_csv(self.paths.auc(self.model_name), table[["epoch", "val_auc"]])


class DivergenceCheck(keras.callbacks.Callback):
    """Raise ``TrainingDivergedError`` when the training loss is no longer finite.

    Place it first, before anything is saved. Reading the loss waits for the device. The loss is the
    mean of the epoch so far and never becomes finite again, so one check in ``EVERY`` steps is
    enough.
    """

    EVERY = 20

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.epoch = 0
        self.checked = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch, self.checked = epoch, 0

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if batch + 1 - self.checked >= self.EVERY:
            self.checked = batch + 1
            self._check(batch + 1, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._check(self.steps, logs)

    def _check(self, step: int, logs: Logs | None) -> None:
        assert logs is not None
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            position = f"epoch {self.epoch + 1}, step {step}/{self.steps}"
            raise divergence_error(self.model, f"loss is {loss} at {position}")


def divergence_error(model: keras.Model, symptom: str) -> TrainingDivergedError:
    """Return the error for a training that diverged, with its learning rate."""
    return TrainingDivergedError(
        f"the training diverged ({symptom}) at a learning rate of {_learning_rate(model):g}; "
        "lower train.learning_rate"
    )


def _learning_rate(model: keras.Model) -> float:
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


class LearningRate(keras.callbacks.Callback):
    """Add the learning rate of the epoch to its logs."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        assert logs is not None
        logs["learning_rate"] = _learning_rate(self.model)


def monitor_mode(monitor: str) -> Literal["min", "max"]:
    """Return whether lower or higher values of a metric are better."""
    return "min" if monitor == "val_loss" else "max"


def monitor_callbacks(config: TrainConfig) -> list[keras.callbacks.Callback]:
    """Return the configured callbacks for early stopping and learning rate reduction."""
    callbacks: list[keras.callbacks.Callback] = []
    if (stop := config.early_stopping) is not None:
        mode = monitor_mode(stop.monitor)
        callbacks.append(keras.callbacks.EarlyStopping(mode=mode, **asdict(stop)))
    if (plateau := config.reduce_lr) is not None:
        mode = monitor_mode(plateau.monitor)
        callbacks.append(keras.callbacks.ReduceLROnPlateau(mode=mode, **asdict(plateau)))
    return callbacks
