"""Finding the weights of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf

from xray_hpc.config import RunConfig, TrainConfig
from xray_hpc.data.batches import evaluation_batches, training_batches
from xray_hpc.data.dataset import Dataset
from xray_hpc.errors import UserError
from xray_hpc.models.build import build_model
from xray_hpc.models.registry import check, output, settle, weights_files
from xray_hpc.runs.paths import RunPaths
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
from xray_hpc.training.progress import ProgressFile, ProgressLine
from xray_hpc.training.saving import Checkpoints


@dataclass(frozen=True)
class Fitted:
    """A trained model (with the weights that are kept) and how it came about.

    ``seconds`` is what all its epochs took, also those of processes that were interrupted.
    """

    model: keras.Model
    history: pd.DataFrame
    best_epoch: int
    seconds: float

    @property
    def seconds_per_epoch(self) -> float:
        return self.seconds / len(self.history)


def fit(
    config: RunConfig,
    data: Dataset,
    strategy: tf.distribute.Strategy,
    paths: RunPaths,
    states: StateFiles,
    *,
    bar: bool = False,
) -> Fitted:
    """Train under ``strategy``; the same configuration gives the same weights every time.

    That also holds where the run was interrupted: it goes on from the newest of ``states``.

    Raises:
        UserError: the model does not fit the images, a measure that is to be watched cannot be
            told of the validation images, or the newest state is of another origin.
        NanLossError: the loss is no number any more.
    """
    classes, validation = len(data.classes), data.splits["validation"]
    check(config, classes)
    check_monitors(config.train, data.labels[validation])
    state = states.newest()
    keras.utils.set_random_seed(config.seed)
    if config.train.mixed_precision:
        keras.mixed_precision.set_global_policy("mixed_float16")
    with strategy.scope():
        model = compiled_model(config, classes, strategy.num_replicas_in_sync)
    indices, epochs = data.splits["train"], config.train.epochs
    steps = len(indices) // config.train.batch_size
    start = tell_start(state, epochs, steps)
    batches = training_batches(
        data.images,
        data.labels,
        indices,
        targets=output(config.model, classes),
        classes=classes,
        batch_size=config.train.batch_size,
        input_size=config.data.input_size,
        augment=config.augment,
        balance=config.train.balance,
        seed=config.seed,
        epochs=range(start.epoch, epochs),
        first_step=start.step,
    )
    keep = Keep(
        config.train.keep,
        Checkpoints(paths, config, classes, start.epoch) if config.train.save_best else None,
    )
    tables = EpochTables(paths, config.model.name)
    callbacks = [
        FiniteLoss(steps),
        Validation(
            evaluation_batches(
                data.images, validation, config.train.batch_size, config.data.input_size
            ),
            data.labels[validation],
            data.classes,
            between=lambda: checkpointing.look(),
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
        train(model, batches, callbacks, start=start, epochs=epochs, steps=steps)
    return Fitted(model, pd.DataFrame(tables.history), keep.epoch, seconds())


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


def compiled_model(config: RunConfig, classes: int, replicas: int) -> keras.Model:
    """The model with its optimizer, loss and training accuracy.

    Weights of images, where there are any, count in the loss and not in the accuracy.
    """
    settled, _ = settle(config.model)
    model = build_model(
        settled, config.data.input_shape, classes, weights_files(settled), replicas=replicas
    )
    if output(settled, classes) == "sigmoid":
        loss, accuracy = "binary_crossentropy", keras.metrics.BinaryAccuracy(name="accuracy")
    else:
        loss = "categorical_crossentropy"
        accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    model.compile(optimizer=make_optimizer(config.train), loss=loss, metrics=[accuracy])
    model.optimizer.build(model.trainable_variables)
    return model


def make_optimizer(config: TrainConfig) -> keras.optimizers.Optimizer:
    """The optimizer by its Keras name, with the configured learning rate."""
    kinds = {
        "adam": keras.optimizers.Adam,
        "rmsprop": keras.optimizers.RMSprop,
        "sgd": keras.optimizers.SGD,
    }
    return kinds[config.optimizer](learning_rate=config.learning_rate)


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
        raise UserError(
            f"{keys[0]} is val_auc, which the validation images cannot tell: all "
            f"{len(labels)} are of one class; use val_loss, or another data.split"
        )
