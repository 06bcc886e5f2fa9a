"""Fit the weights of a run."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from xray_hpc.config.run_config import RunConfig
from xray_hpc.config.train_config import TrainConfig
from xray_hpc.data.dataset import Dataset
from xray_hpc.errors import ConfigError, DataError
from xray_hpc.metrics import Floats
from xray_hpc.records.paths import RunPaths
from xray_hpc.training.checkpoint import CheckpointCallback
from xray_hpc.training.checkpoint_store import Checkpoint, CheckpointStore, Position
from xray_hpc.training.epoch_callbacks import (
    BestWeights,
    DivergenceCheck,
    EpochTables,
    LearningRate,
    Validation,
    monitor_callbacks,
)
from xray_hpc.training.event_files import EventFiles
from xray_hpc.training.loop import run_epochs
from xray_hpc.training.progress_callbacks import ProgressFile, ProgressLine
from xray_hpc.training.save_model import BestWeightsWriter
from xray_hpc.training.training_model import TrainingModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitResult:
    """A fitted model, with the weights selected by ``train.keep``, and its history.

    Attributes:
        training_model: the model.
        history: one row per epoch; the column ``epoch`` counts from 0.
        best_epoch: the epoch of the selected weights, from 1.
        seconds: training time over all attempts.
    """

    training_model: TrainingModel
    history: pd.DataFrame
    best_epoch: int
    seconds: float

    @property
    def model(self) -> keras.Model:
        """The full model, which takes images."""
        return self.training_model.full_model

    @property
    def seconds_per_epoch(self) -> float:
        return self.seconds / len(self.history)


def fit(
    config: RunConfig,
    data: Dataset,
    training_model: TrainingModel,
    paths: RunPaths,
    store: CheckpointStore,
    *,
    bar: bool = False,
) -> FitResult:
    """Train the model; the same configuration gives the same weights every time.

    This also holds after an interruption: training resumes from the newest checkpoint in ``store``.
    The tables and the progress are written to ``paths``; ``bar`` shows a progress bar.

    Raises:
        UserError: a monitored metric is undefined on the validation images, or the newest
            checkpoint belongs to another run or other software.
        TrainingDivergedError: the training diverged.
    """
    validation = data.labels[data.splits["validation"]]
    check_monitors(config.train, validation)
    checkpoint = store.load_newest()
    epochs, steps = config.train.epochs, len(data.splits["train"]) // config.train.batch_size
    start = resume_position(checkpoint, epochs, steps)
    batches = training_model.feed.training(range(start.epoch, epochs), start.step)
    best_weights = BestWeights(config.train.keep)
    if config.train.save_best:
        model = training_model.full_model
        best_weights.on_best = BestWeightsWriter(paths, config, data, model, start.epoch)
    tables = EpochTables(paths, config.model.name)

    def predict_validation() -> Floats:
        return training_model.predict("validation", checkpoint_callback.save_if_due)

    callbacks = [
        DivergenceCheck(steps),
        Validation(predict_validation, validation, data.classes),
        LearningRate(),
        *monitor_callbacks(config.train),
        best_weights,
        tables,
        ProgressLine(epochs, steps, bar=bar),
    ]
    earlier, began = checkpoint.seconds if checkpoint else 0.0, time.monotonic()

    def seconds() -> float:
        return earlier + time.monotonic() - began

    with CheckpointCallback(
        store,
        config.train.checkpoint,
        best_weights=best_weights,
        callbacks=callbacks,
        checkpoint=checkpoint,
        clock=seconds,
        epochs=epochs,
        steps=steps,
    ) as checkpoint_callback:
        del checkpoint  # its arrays are as large as the model
        epochs_before = start.epoch + start.step / steps
        progress = ProgressFile(paths, best_weights, tables, epochs, epochs_before, seconds)
        callbacks = [*callbacks, checkpoint_callback, progress]
        if config.train.tensorboard:
            callbacks.append(EventFiles(paths, config, tables))
        run_epochs(
            training_model.trained_model,
            batches,
            callbacks,
            start=start,
            epochs=epochs,
            steps=steps,
            max_steps=checkpoint_callback.max_steps,
        )
    return FitResult(
        training_model, pd.DataFrame(tables.history), best_weights.epoch + 1, seconds()
    )


def resume_position(checkpoint: Checkpoint | None, epochs: int, steps: int) -> Position:
    """Return where training starts, and log it; after the last epoch if training is complete.

    Raises:
        DataError: the checkpoint is of a training of more epochs or steps.
    """
    if checkpoint is None:
        return Position(0, 0)
    if checkpoint.position > (epochs, 0) or checkpoint.position.step > steps:
        raise DataError(
            f"the checkpoint is at epoch {checkpoint.position.epoch + 1}, step "
            f"{checkpoint.position.step}, of {epochs} epochs of {steps} steps; remove the run's "
            "folder 'checkpoint' to train from the start"
        )
    position = checkpoint.position.describe(epochs, steps)
    if checkpoint.stopped or checkpoint.position.epoch == epochs:
        logger.info("Training was completed at %s.", position)
        return Position(epochs, 0)
    logger.info("Resuming from %s.", position)
    return checkpoint.position


def check_monitors(config: TrainConfig, labels: npt.NDArray[np.int64]) -> None:
    """Raise ``ConfigError`` if ``val_auc`` is monitored and all ``labels`` are of one class."""
    monitors = {"train.keep": config.keep}
    if config.early_stopping is not None:
        monitors["train.early_stopping.monitor"] = config.early_stopping.monitor
    if config.reduce_lr is not None:
        monitors["train.reduce_lr.monitor"] = config.reduce_lr.monitor
    keys = [key for key, monitor in monitors.items() if monitor == "val_auc"]
    if keys and len(np.unique(labels)) == 1:
        raise ConfigError(
            f"{keys[0]}=val_auc is undefined on the validation images: all {len(labels)} are of "
            "one class; use val_loss, or another data.split"
        )
