"""The callbacks, on a model whose only weight is the number of the epoch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from tests.scored_splits import softmax
from xray_hpc.config.train_config import EarlyStoppingConfig, ReduceLROnPlateauConfig, TrainConfig
from xray_hpc.errors import TrainingDivergedError
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_progress import TrainingProgress, read_progress
from xray_hpc.training.epoch_callbacks import (
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


def train(monitor: str, **logs: list[float]) -> tuple[BestWeights, float, list[int]]:
    """Run epochs with these logs; return the callback, the final weight and the best epochs."""
    best: list[int] = []
    best_weights = BestWeights(monitor, best.append)
    best_weights.set_model(model())
    epochs = len(next(iter(logs.values())))
    for epoch in range(epochs):
        best_weights.model.set_weights([np.full((1, 1), epoch)])
        best_weights.on_epoch_end(epoch, {name: values[epoch] for name, values in logs.items()})
    best_weights.on_train_end()
    return best_weights, best_weights.model.get_weights()[0].item(), best


@pytest.mark.parametrize(
    ("monitor", "values", "epoch"),
    [
        ("val_loss", [0.9, 0.4, 0.6, 0.4], 1),
        ("val_accuracy", [0.5, 0.8, 0.9, 0.9], 2),
        ("val_auc", [0.7, 0.6, 0.6, 0.5], 0),
    ],
)
def test_best_weights_restores_the_first_best_epoch(
    monitor: str, values: list[float], epoch: int
) -> None:
    best_weights, weight, _ = train(monitor, **{monitor: values})
    assert best_weights.epoch == weight == epoch


def test_best_weights_with_last_retains_the_last_epoch() -> None:
    best_weights, weight, best = train("last", val_loss=[0.9, 0.4, 0.6])
    assert best_weights.epoch == weight == 2
    assert best == [0, 1]  # the epochs with the lowest val_loss so far


def test_best_weights_calls_on_best_for_each_new_best_epoch() -> None:
    _, _, best = train("val_auc", val_auc=[0.5, 0.7, 0.7, 0.6, 0.8])
    assert best == [0, 1, 4]


@pytest.mark.parametrize(
    ("monitor", "mode"), [("val_loss", "min"), ("val_accuracy", "max"), ("val_auc", "max")]
)
def test_monitor_callbacks_know_whether_higher_is_better(monitor: Any, mode: str) -> None:
    config = TrainConfig(
        epochs=1,
        batch_size=1,
        learning_rate=1.0,
        early_stopping=EarlyStoppingConfig(monitor),
        reduce_lr=ReduceLROnPlateauConfig(monitor),
    )
    assert [callback.mode for callback in monitor_callbacks(config)] == [mode, mode]


def test_monitor_callbacks_are_empty_by_configuration() -> None:
    config = TrainConfig(
        epochs=1, batch_size=1, learning_rate=1.0, early_stopping=None, reduce_lr=None
    )
    assert monitor_callbacks(config) == []


def validated(labels: list[int]) -> dict[str, float]:
    """Return the logs of images with these labels."""
    logits = softmax([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.2, 0.6]])
    validation = Validation(lambda: logits, np.array(labels), THREE)
    logs: dict[str, float] = {}
    validation.on_epoch_end(0, logs)
    return logs


def test_validation_measures_all_classes() -> None:
    logs = validated([0, 1, 1])
    assert logs["val_accuracy"] == pytest.approx(2 / 3)
    assert logs["val_loss"] == pytest.approx(-np.log(0.7 * 0.6 * 0.2) / 3, rel=1e-5)
    assert logs["val_auc"] == pytest.approx((1 + 3 / 4) / 2)


def test_validation_raises_for_nan_scores() -> None:
    diverged = model()
    diverged.compile(optimizer=keras.optimizers.SGD(0.25))
    validation = Validation(lambda: np.full((1, 3), np.nan), np.array([0]), THREE)
    validation.set_model(diverged)
    line = "epoch 4.*0.25; lower train.learning_rate"
    with pytest.raises(TrainingDivergedError, match=line):
        validation.on_epoch_end(3, {"loss": 0.3})


def test_epoch_tables_leave_an_undefined_auc_empty(tmp_path: Path) -> None:
    logs = validated([1, 1, 1])
    assert np.isnan(logs["val_auc"])
    paths = RunPaths(tmp_path)
    logs |= {"loss": 1.0, "accuracy": 0.5, "learning_rate": 1e-3}
    EpochTables(paths, "lung").on_epoch_end(0, logs)
    assert paths.auc("lung").read_text() == "epoch,val_auc\n0,\n"
    assert pd.read_csv(paths.loss("lung")).columns.tolist() == ["epoch", "train_loss", "val_loss"]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_divergence_check_raises_within_20_steps(loss: float) -> None:
    check = DivergenceCheck(steps=100)
    compiled = model()
    compiled.compile(optimizer=keras.optimizers.SGD(0.25))
    check.set_model(compiled)
    check.on_epoch_begin(2)
    check.on_train_batch_end(19, {"loss": 0.3})
    check.on_train_batch_end(38, {"loss": loss})
    line = f"loss is {loss} at epoch 3, step 40/100.*0.25"
    with pytest.raises(TrainingDivergedError, match=line):
        check.on_train_batch_end(39, {"loss": loss})


def test_progress_file_has_the_epochs_and_the_best(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    best_weights, tables = BestWeights("val_loss"), EpochTables(paths, "lung")
    best_weights.set_model(model())
    progress = ProgressFile(paths, best_weights, tables, 5, 0, lambda: 60.0 * len(tables.history))

    def end_epoch(epoch: int, loss: float) -> None:
        logs = {"loss": 1.0, "accuracy": 0.5, "val_loss": loss, "val_auc": math.nan}
        logs["learning_rate"] = 1e-3
        for callback in (best_weights, tables, progress):
            callback.on_epoch_end(epoch, logs | {"val_accuracy": 1 - loss})

    progress.on_train_begin()
    assert read_progress(paths) is None
    end_epoch(0, 0.9)
    progress = ProgressFile(paths, best_weights, tables, 5, 1.5, lambda: 60.0 * len(tables.history))
    progress.on_train_begin()  # of an attempt that resumes within an epoch
    assert read_progress(paths) == TrainingProgress(1, 5, 1, 60.0, 1, pytest.approx(0.1), 0.9, None)
    end_epoch(1, 0.4)
    end_epoch(2, 0.6)
    assert read_progress(paths) == TrainingProgress(3, 5, 1, 80.0, 2, 0.6, 0.4, None)
