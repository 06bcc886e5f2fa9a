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
    StateFile,
    Validation,
    watchers,
)
from xray_hpc.training.checkpoint import State, newest_state
from xray_hpc.training.progress import ProgressFile, ProgressLine
from xray_hpc.training.saving import Checkpoints
from xray_hpc.training.state import software


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
    *,
    bar: bool = False,
) -> Fitted:
    """Train under ``strategy``; the same configuration gives the same weights every time.

    That also holds where the run was interrupted after some epochs: it goes on with the next.

    Raises:
        UserError: the model does not fit the images, or a measure that is to be watched cannot be
            told of the validation images.
        NanLossError: the loss is no number any more.
    """
    classes, validation = len(data.classes), data.splits["validation"]
    check(config, classes)
    check_monitors(config.train, data.labels[validation])
    keras.utils.set_random_seed(config.seed)
    if config.train.mixed_precision:
        keras.mixed_precision.set_global_policy("mixed_float16")
    with strategy.scope():
        model = compiled_model(config, classes, strategy.num_replicas_in_sync)
    state = newest_state(paths.state, software())
    epochs = range(epochs_done(state, config.train.epochs), config.train.epochs)
    if state is not None:
        done = f"epoch {state.epochs}/{config.train.epochs}"
        print(f"going on after {done}" if epochs else f"trained already, to {done}", flush=True)
    indices = data.splits["train"]
    steps = len(indices) // config.train.batch_size
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
        epochs=epochs or range(1),  # Keras looks at a batch even where none is to be trained
    )
    keep = Keep(
        config.train.keep,
        Checkpoints(paths, config, classes, epochs.start) if config.train.save_best else None,
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
        ),
        LearningRate(),
        *watchers(config.train),
        keep,
        tables,
        ProgressLine(config.train.epochs, steps, bar=bar),
    ]
    before, began = state.seconds if state else 0.0, time.monotonic()

    def seconds() -> float:
        return before + time.monotonic() - began

    model.fit(
        batches,
        initial_epoch=epochs.start,
        epochs=epochs.stop,
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
        callbacks=[
            *callbacks,
            StateFile(paths.state, keep, callbacks, state, seconds),
            ProgressFile(paths, keep, tables, config.train.epochs, seconds),
        ],
    )
    return Fitted(model, pd.DataFrame(tables.history), keep.epoch, seconds())


def epochs_done(state: State | None, epochs: int) -> int:
    """How many of ``epochs`` need no training any more: all where it was stopped early."""
    if state is None:
        return 0
    return epochs if state.over else state.epochs


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
