"""Finding the weights of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from xray_hpc.config.run_config import RunConfig, TrainConfig
from xray_hpc.data.dataset import Dataset
from xray_hpc.errors import ConfigError
from xray_hpc.records.paths import RunPaths
from xray_hpc.training.callbacks import (
    EpochTables,
    FiniteLoss,
    Keep,
    LearningRate,
    Validation,
    watchers,
)
from xray_hpc.training.checkpoint import Position, State, StateFiles
from xray_hpc.training.checkpointing import Checkpointing
from xray_hpc.training.loop import train
from xray_hpc.training.progress_callbacks import ProgressFile, ProgressLine
from xray_hpc.training.save_model import Checkpoints
from xray_hpc.training.training_model import Learner


@dataclass(frozen=True)
class Fitted:
    """What was trained (it has the weights that are kept) and how it came about.

    ``seconds`` is what all its epochs took, also those of processes that were interrupted.
    """

    learner: Learner
    history: pd.DataFrame
    best_epoch: int
    seconds: float

    @property
    def model(self) -> keras.Model:
        """The whole model."""
        return self.learner.whole

    @property
    def seconds_per_epoch(self) -> float:
        return self.seconds / len(self.history)


def fit(
    config: RunConfig,
    data: Dataset,
    learner: Learner,
    paths: RunPaths,
    states: StateFiles,
    *,
    bar: bool = False,
) -> Fitted:
    """Train what ``learner`` has; the same configuration gives the same weights every time.

    That also holds where the run was interrupted: it goes on from the newest of ``states``.

    Raises:
        UserError: a measure that is to be watched cannot be told of the validation images, or
            the newest state is of another origin.
        TrainingDivergedError: the loss is no number any more.
    """
    validation = data.labels[data.splits["validation"]]
    check_monitors(config.train, validation)
    state = states.newest()
    epochs, steps = config.train.epochs, len(data.splits["train"]) // config.train.batch_size
    start = tell_start(state, epochs, steps)
    batches = learner.feed.training(range(start.epoch, epochs), start.step)
    keep = Keep(config.train.keep)
    if config.train.save_best:
        keep.on_best = Checkpoints(paths, config, data, learner.whole, start.epoch)
    tables = EpochTables(paths, config.model.name)
    callbacks = [
        FiniteLoss(steps),
        Validation(
            lambda: learner.predict("validation", between=checkpointing.look),
            validation,
            data.classes,
        ),
        LearningRate(),
        *watchers(config.train),
        keep,
        tables,
        ProgressLine(epochs, steps, bar=bar),
    ]
    before, began = state.seconds if state else 0.0, time.monotonic()

    def seconds() -> float:
        return before + time.monotonic() - began

    with Checkpointing(
        states,
        config.train.checkpoint,
        keep=keep,
        others=callbacks,
        state=state,
        clock=seconds,
        epochs=epochs,
        steps=steps,
    ) as checkpointing:
        del state  # its arrays are as large as the model
        begun = start.epoch + start.step / steps
        progress = ProgressFile(paths, keep, tables, epochs, begun, seconds)
        callbacks = [*callbacks, checkpointing, progress]
        train(
            learner.trained,
            batches,
            callbacks,
            start=start,
            epochs=epochs,
            steps=steps,
            most=checkpointing.most_steps,
        )
    return Fitted(learner, pd.DataFrame(tables.history), keep.epoch, seconds())


def tell_start(state: State | None, epochs: int, steps: int) -> Position:
    """Where training begins, which is said: behind the last epoch where it is over."""
    if state is None:
        return Position(0, 0)
    words = state.position.words(epochs, steps)
    if state.over or state.position.epoch == epochs:
        print(f"trained already, to {words}", flush=True)
        return Position(epochs, 0)
    print(f"going on after {words}", flush=True)
    return state.position


def check_monitors(config: TrainConfig, labels: npt.NDArray[np.int64]) -> None:
    """Check that every measure which decides something can be told of the validation images.

    Raises:
        UserError: it is ``val_auc``, and all images are of one class.
    """
    watched = {"train.keep": config.keep}
    if config.early_stopping is not None:
        watched["train.early_stopping.monitor"] = config.early_stopping.monitor
    if config.reduce_lr is not None:
        watched["train.reduce_lr.monitor"] = config.reduce_lr.monitor
    keys = [key for key, monitor in watched.items() if monitor == "val_auc"]
    if keys and len(np.unique(labels)) == 1:
        raise ConfigError(
            f"{keys[0]} is val_auc, which the validation images cannot tell: all "
            f"{len(labels)} are of one class; use val_loss, or another data.split"
        )
