"""What is watched and kept, on a model whose one weight is the number of its epoch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from xray_hpc.config.train_config import EarlyStoppingConfig, ReduceLROnPlateauConfig, TrainConfig
from xray_hpc.errors import TrainingDivergedError
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_progress import TrainingProgress, read_progress
from xray_hpc.training.callbacks import (
    BestWeights,
    DivergenceCheck,
    EpochTables,
    Validation,
    monitor_callbacks,
)
from xray_hpc.training.progress_callbacks import ProgressFile

THREE = ("Covid", "Normal", "Viral Pneumonia")


def model() -> keras.Model:
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])


def kept(monitor: str, **logs: list[float]) -> tuple[BestWeights, float, list[int]]:
    """Go through epochs of these logs: the callback, the final weight, the best epochs so far."""
    best: list[int] = []
    keep = BestWeights(monitor, best.append)
    keep.set_model(model())
    epochs = len(next(iter(logs.values())))
    for epoch in range(epochs):
        keep.model.set_weights([np.full((1, 1), epoch)])
        keep.on_epoch_end(epoch, {name: values[epoch] for name, values in logs.items()})
    keep.on_train_end()
    return keep, keep.model.get_weights()[0].item(), best


@pytest.mark.parametrize(
    ("monitor", "values", "epoch"),
    [
        ("val_loss", [0.9, 0.4, 0.6, 0.4], 1),
        ("val_accuracy", [0.5, 0.8, 0.9, 0.9], 2),
        ("val_auc", [0.7, 0.6, 0.6, 0.5], 0),
    ],
)
def test_the_first_best_epochs_weights_are_put_back(
    monitor: str, values: list[float], epoch: int
) -> None:
    keep, weight, _ = kept(monitor, **{monitor: values})
    assert keep.epoch == weight == epoch


def test_last_keeps_the_last_epochs_weights() -> None:
    keep, weight, best = kept("last", val_loss=[0.9, 0.4, 0.6])
    assert keep.epoch == weight == 2
    assert best == [0, 1]  # which of them have the lowest val_loss so far is told all the same


def test_each_new_best_epoch_is_told() -> None:
    _, _, best = kept("val_auc", val_auc=[0.5, 0.7, 0.7, 0.6, 0.8])
    assert best == [0, 1, 4]


@pytest.mark.parametrize(
    ("monitor", "mode"), [("val_loss", "min"), ("val_accuracy", "max"), ("val_auc", "max")]
)
def test_watchers_know_whether_more_is_better(monitor: Any, mode: str) -> None:
    train = TrainConfig(
        epochs=1,
        batch_size=1,
        learning_rate=1.0,
        early_stopping=EarlyStoppingConfig(monitor),
        reduce_lr=ReduceLROnPlateauConfig(monitor),
    )
    assert [watcher.mode for watcher in monitor_callbacks(train)] == [mode, mode]


def test_nothing_is_watched_when_nothing_is_configured() -> None:
    train = TrainConfig(
        epochs=1, batch_size=1, learning_rate=1.0, early_stopping=None, reduce_lr=None
    )
    assert monitor_callbacks(train) == []


def validated(labels: list[int]) -> dict[str, float]:
    """The logs where images of these classes have these scores."""
    scores = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.2, 0.6]])
    validation = Validation(lambda: scores, np.array(labels), THREE)
    logs: dict[str, float] = {}
    validation.on_epoch_end(0, logs)
    return logs


def test_validation_measures_all_classes() -> None:
    logs = validated([0, 1, 1])
    assert logs["val_accuracy"] == pytest.approx(2 / 3)
    assert logs["val_loss"] == pytest.approx(-np.log(0.7 * 0.6 * 0.2) / 3, rel=1e-5)
    assert logs["val_auc"] == pytest.approx((1 + 3 / 4) / 2)


def test_scores_that_are_no_numbers_end_the_training() -> None:
    sick = model()
    sick.compile(optimizer=keras.optimizers.SGD(0.25))
    validation = Validation(lambda: np.full((1, 3), np.nan), np.array([0]), THREE)
    validation.set_model(sick)
    line = "epoch 4.*0.25; lower train.learning_rate"
    with pytest.raises(TrainingDivergedError, match=line):
        validation.on_epoch_end(3, {"loss": 0.3})


def test_an_auc_that_the_images_cannot_tell_is_an_empty_cell(tmp_path: Path) -> None:
    logs = validated([1, 1, 1])
    assert np.isnan(logs["val_auc"])
    paths = RunPaths(tmp_path)
    EpochTables(paths, "lung").on_epoch_end(0, logs | {"loss": 1.0, "accuracy": 0.5})
    assert paths.auc("lung").read_text() == "epoch,val_auc\n0,\n"
    assert pd.read_csv(paths.loss("lung")).columns.tolist() == ["epoch", "train_loss", "val_loss"]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_noticed_every_20_steps(loss: float) -> None:
    finite = DivergenceCheck(steps=100)
    compiled = model()
    compiled.compile(optimizer=keras.optimizers.SGD(0.25))
    finite.set_model(compiled)
    finite.on_epoch_begin(2)
    finite.on_train_batch_end(19, {"loss": 0.3})
    finite.on_train_batch_end(38, {"loss": loss})
    line = f"loss is {loss} at epoch 3, step 40/100.*0.25"
    with pytest.raises(TrainingDivergedError, match=line):
        finite.on_train_batch_end(39, {"loss": loss})


def test_progress_tells_the_epochs_done_and_the_best_of_them(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    keep, tables = BestWeights("val_loss"), EpochTables(paths, "lung")
    keep.set_model(model())
    told = ProgressFile(paths, keep, tables, 5, 0, lambda: 60.0 * len(tables.history))

    def epoch_ends(epoch: int, loss: float) -> None:
        logs = {"loss": 1.0, "accuracy": 0.5, "val_loss": loss, "val_auc": math.nan}
        for callback in (keep, tables, told):
            callback.on_epoch_end(epoch, logs | {"val_accuracy": 1 - loss})

    told.on_train_begin()
    assert read_progress(paths) is None
    epoch_ends(0, 0.9)
    told = ProgressFile(paths, keep, tables, 5, 1.5, lambda: 60.0 * len(tables.history))
    told.on_train_begin()  # of the process that goes on in the middle of an epoch
    assert read_progress(paths) == TrainingProgress(1, 5, 1, 60.0, 0, pytest.approx(0.1), 0.9, None)
    epoch_ends(1, 0.4)
    epoch_ends(2, 0.6)
    assert read_progress(paths) == TrainingProgress(3, 5, 1, 80.0, 1, 0.6, 0.4, None)
