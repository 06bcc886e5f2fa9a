"""What happens at the end of each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from xray_hpc.config.run_config import TrainConfig
from xray_hpc.errors import TrainingDivergedError
from xray_hpc.metrics import Floats, split_metrics
from xray_hpc.records.atomic_files import write_csv
from xray_hpc.records.paths import RunPaths

Logs = MutableMapping[str, Any]


class Validation(keras.callbacks.Callback):
    """Put ``val_loss``, ``val_accuracy`` and ``val_auc`` into the logs, from one prediction.

    It goes before the callbacks that watch them; a ``val_auc`` that the images cannot tell is NaN.
    Keras's own validation breaks or weighs images unequally where a batch does not divide among
    the replicas. ``predict`` gives scores ``[N, K]`` of the images with these ``labels``.
    """

    def __init__(
        self,
        predict: Callable[[], Floats],
        labels: npt.NDArray[np.int64],
        classes: Sequence[str],
    ) -> None:
        super().__init__()
        self.predict = predict
        self.labels = labels
        self.classes = classes

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        scores = self.predict()
        if not np.isfinite(scores).all():
            raise diverged(self.model, f"validation gives nan after epoch {epoch + 1}")
        measured = split_metrics(self.labels, scores, self.classes)
        assert logs is not None
        logs["val_loss"], logs["val_accuracy"] = measured["loss"], measured["accuracy"]
        logs["val_auc"] = math.nan if measured["auc"] is None else measured["auc"]


class Keep(keras.callbacks.Callback):
    """Have the model end with the weights of its best epoch, the first of equals.

    Args:
        monitor: ``val_loss``, ``val_accuracy`` or ``val_auc``; ``last`` keeps the last epoch's
            weights (and takes the lowest ``val_loss`` for the best epoch).
        on_best: called with the epoch in each epoch that is the best so far.

    ``epoch`` is the one whose weights the model ends with.
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
        value = logs[self.monitor] if mode(self.monitor) == "min" else -logs[self.monitor]
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
    """Rewrite the run's tables an epoch after each, and keep the history."""

    def __init__(self, paths: RunPaths, model_name: str) -> None:
        super().__init__()
        self.paths = paths
        self.name = model_name
        self.history: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        assert logs is not None
        self.history.append(
            {
                "epoch": epoch,
                "train_accuracy": float(logs["accuracy"]),
                "val_accuracy": float(logs["val_accuracy"]),
                "train_loss": float(logs["loss"]),
                "val_loss": float(logs["val_loss"]),
                "val_auc": float(logs["val_auc"]),
            }
        )
        self._write()

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._write()  # where an earlier process has trained, and its files are gone

    def _write(self) -> None:
        table = pd.DataFrame(self.history)
        accuracy = self.paths.accuracy(self.name)
        write_csv(accuracy, table[["epoch", "train_accuracy", "val_accuracy"]])
        write_csv(self.paths.loss(self.name), table[["epoch", "train_loss", "val_loss"]])
        write_csv(self.paths.auc(self.name), table[["epoch", "val_auc"]])


class FiniteLoss(keras.callbacks.Callback):
    """End a training whose loss is no finite number any more, with ``TrainingDivergedError``.

    It goes first, before anything is made of such weights. To read the loss is to wait for the
    device; it is the mean of the epoch so far, which never becomes finite again, so that once in
    ``EVERY`` steps is enough.
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
            place = f"step {step}/{self.steps} of epoch {self.epoch + 1}"
            raise diverged(self.model, f"the loss is {loss} by {place}")


def diverged(model: keras.Model, what: str) -> TrainingDivergedError:
    """The error for a training that gave numbers which are none."""
    rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    return TrainingDivergedError(
        f"{what}, at a learning rate of {rate:g}; lower train.learning_rate"
    )


class LearningRate(keras.callbacks.Callback):
    """Put the learning rate that the epoch used into its logs."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        assert logs is not None
        logs["learning_rate"] = float(
            keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        )


def mode(monitor: str) -> Literal["min", "max"]:
    """Whether the measure is better when it is lower or higher."""
    return "min" if monitor == "val_loss" else "max"


def watchers(config: TrainConfig) -> list[keras.callbacks.Callback]:
    """Early stopping and the reduction of the learning rate, as configured."""
    chosen: list[keras.callbacks.Callback] = []
    if (stop := config.early_stopping) is not None:
        chosen.append(
            keras.callbacks.EarlyStopping(
                monitor=stop.monitor,
                mode=mode(stop.monitor),
                patience=stop.patience,
                min_delta=stop.min_delta,
            )
        )
    if (plateau := config.reduce_lr) is not None:
        chosen.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor=plateau.monitor,
                mode=mode(plateau.monitor),
                factor=plateau.factor,
                patience=plateau.patience,
                min_delta=plateau.min_delta,
                cooldown=plateau.cooldown,
                min_lr=plateau.min_lr,
            )
        )
    return chosen
