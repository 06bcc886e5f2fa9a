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
    Keep,
    LearningRate,
    Progress,
    Validation,
    watchers,
)
from xray_hpc.training.saving import Checkpoints


@dataclass(frozen=True)
class Fitted:
    """A trained model (with the weights that are kept) and how it came about."""

    model: keras.Model
    history: pd.DataFrame
    best_epoch: int
    seconds_per_epoch: float


def fit(
    config: RunConfig,
    data: Dataset,
    strategy: tf.distribute.Strategy,
    paths: RunPaths,
    *,
    bar: bool = False,
) -> Fitted:
    """Train under ``strategy``; the same configuration gives the same weights every time.

    Raises:
        UserError: the model does not fit the images, or a measure that is to be watched cannot be
            told of the validation images.
    """
    classes, validation = len(data.classes), data.splits["validation"]
    check(config, classes)
    check_monitors(config.train, data.labels[validation])
    keras.utils.set_random_seed(config.seed)
    if config.train.mixed_precision:
        keras.mixed_precision.set_global_policy("mixed_float16")
    with strategy.scope():
        model = compiled_model(config, classes, strategy.num_replicas_in_sync)
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
        epochs=range(config.train.epochs),
    )
    checkpoints = Checkpoints(paths, config, classes) if config.train.save_best else None
    keep = Keep(config.train.keep, checkpoints)
    tables = EpochTables(paths, config.model.name)
    began = time.monotonic()
    model.fit(
        batches,
        epochs=config.train.epochs,
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
        callbacks=[
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
            Progress(config.train.epochs, steps, bar=bar),
        ],
    )
    history = pd.DataFrame(tables.history)
    return Fitted(model, history, keep.epoch, (time.monotonic() - began) / len(history))


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
