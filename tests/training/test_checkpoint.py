"""When checkpoints are saved, in a training of one weight."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM
from typing import Any

import keras
import numpy as np
import pytest

from xray_hpc.config.train_config import CheckpointConfig
from xray_hpc.training import signals
from xray_hpc.training.checkpoint import CheckpointCallback, capture
from xray_hpc.training.checkpoint_store import Checkpoint, CheckpointStore, Position
from xray_hpc.training.epoch_callbacks import BestWeights

EPOCHS, STEPS = 2, 5


class RecordingStore(CheckpointStore):
    """Record the saved positions; each save waits until ``may_save`` is set."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {})
        object.__setattr__(self, "positions", [])
        object.__setattr__(self, "may_save", threading.Event())
        self.may_save.set()

    positions: list[Position]
    may_save: threading.Event

    def save(self, checkpoint: Checkpoint) -> None:
        assert self.may_save.wait(60)
        super().save(checkpoint)
        self.positions.append(checkpoint.position)


@pytest.fixture
def store(tmp_path: Path) -> RecordingStore:
    return RecordingStore(tmp_path / "checkpoint")


@pytest.fixture
def model() -> keras.Model:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(optimizer="sgd", loss="mse")
    model.stop_training = False
    return model


@pytest.fixture(autouse=True)
def _signals_released() -> Iterator[None]:
    yield
    assert not signals.UNSAVED_WORK.locked()


def start(
    store: RecordingStore, model: keras.Model, checkpoint: Checkpoint | None = None, **every: Any
) -> CheckpointCallback:
    config = CheckpointConfig(**({"seconds": None} | every))
    best_weights = BestWeights("val_loss")
    callback = CheckpointCallback(
        store,
        config,
        best_weights=best_weights,
        callbacks=[best_weights],
        checkpoint=checkpoint,
        clock=lambda: 1.0,
        epochs=EPOCHS,
        steps=STEPS,
    )
    callback.set_model(model)
    callback.on_train_begin()
    return callback


def run(callback: CheckpointCallback, *, epochs: int = EPOCHS, wait: bool = True) -> None:
    """Call the callback as a training does; wait for each write if ``wait``."""
    for epoch in range(epochs):
        callback.on_epoch_begin(epoch)
        for step in range(STEPS):
            callback.on_train_batch_end(step)
            if wait and callback._write is not None:
                callback._write.result()
        callback.on_epoch_end(epoch)


def test_interval_in_steps_continues_across_epochs(
    store: RecordingStore, model: keras.Model
) -> None:
    with start(store, model, steps=3) as callback:
        run(callback)
    assert store.positions == [(0, 3), (1, 1), (1, 4), (2, 0)]


def test_no_interval_saves_after_the_last_epoch_only(
    store: RecordingStore, model: keras.Model
) -> None:
    with start(store, model) as callback:
        run(callback)
    assert store.positions == [(EPOCHS, 0)]


def test_early_stopping_saves_a_stopped_checkpoint(
    store: RecordingStore, model: keras.Model
) -> None:
    model.stop_training = True
    with start(store, model) as callback:
        run(callback, epochs=1)
        newest = store.load_newest()
    assert newest is not None
    assert (newest.position, newest.stopped) == ((1, 0), True)


def test_interval_of_zero_seconds_saves_after_each_step(
    store: RecordingStore, model: keras.Model
) -> None:
    with start(store, model, seconds=0) as callback:
        run(callback, epochs=1)
    assert store.positions == [*((0, step + 1) for step in range(STEPS)), (1, 0)]


def test_training_continues_during_a_write_and_starts_no_other(
    store: RecordingStore, model: keras.Model
) -> None:
    with start(store, model, steps=1) as callback:
        store.may_save.clear()
        run(callback, epochs=1, wait=False)
        assert store.positions == []
        store.may_save.set()
        run(callback)
    assert store.positions[0] == (0, 1)
    assert store.positions[-1] == (EPOCHS, 0)
    assert len(store.positions) < (EPOCHS + 1) * STEPS


def test_write_error_is_raised_in_the_training(
    store: RecordingStore, model: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(checkpoint: Checkpoint) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CheckpointStore, "save", lambda self, checkpoint: fail(checkpoint))
    with (
        start(store, model, steps=2) as callback,
        pytest.raises(OSError, match="No space left"),
    ):
        run(callback, wait=False)


def test_unsaved_steps_block_signals(store: RecordingStore, model: keras.Model) -> None:
    with start(store, model) as callback:
        callback.on_epoch_begin(0)
        assert not signals.UNSAVED_WORK.locked()
        callback.on_train_batch_end(0)
        assert signals.UNSAVED_WORK.locked()


class ExitedError(BaseException):
    """The process has exited."""


@pytest.fixture
def sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    def exit_process() -> None:
        signals.UNSAVED_WORK.release()
        raise ExitedError

    monkeypatch.setattr(signals, "received_signal", lambda: SIGTERM)
    monkeypatch.setattr(signals, "exit_after_signal", exit_process)


@pytest.mark.usefixtures("sigterm")
def test_signal_saves_the_current_step(
    store: RecordingStore, model: keras.Model, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "xray_hpc")
    with start(store, model) as callback, pytest.raises(ExitedError):
        run(callback)
    assert store.positions == [(0, 1)]
    line = f"Received SIGTERM; checkpoint saved at epoch 1/{EPOCHS}, step 1/{STEPS}."
    assert caplog.messages == [line]


@pytest.mark.usefixtures("sigterm")
def test_signal_logs_a_failed_write(
    store: RecordingStore,
    model: keras.Model,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(self: CheckpointStore, checkpoint: Checkpoint) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecordingStore, "save", fail)
    with start(store, model) as callback, pytest.raises(ExitedError):
        run(callback)
    assert "[Errno 28] No space left on device" in caplog.text


@pytest.mark.usefixtures("sigterm")
def test_signal_without_unsaved_steps_saves_nothing(
    store: RecordingStore, model: keras.Model
) -> None:
    with start(store, model) as callback:
        callback.save_if_due()  # as between two batches of a validation
    assert store.positions == []


def test_position_is_saved_once(store: RecordingStore, model: keras.Model) -> None:
    with start(store, model, seconds=0) as callback:
        callback.on_epoch_begin(0)
        callback.on_train_batch_end(STEPS - 1)
        for _ in range(3):
            callback._write.result()  # type: ignore[union-attr]
            callback.save_if_due()  # between the batches of a validation
    assert store.positions == [(0, STEPS)]


@pytest.mark.parametrize(("step", "counted"), [(3, 4.0), (0, 0.0)])
def test_metrics_are_restored_within_an_epoch_only(
    store: RecordingStore, model: keras.Model, step: int, counted: float
) -> None:
    metric = keras.metrics.MeanSquaredError(name="error")
    model.compile(optimizer="sgd", loss="mse", metrics=[metric])
    model.fit(np.ones((8, 1)), np.ones((8, 1)), verbose=0)
    metric.reset_state()
    metric.update_state([[0.0]], [[2.0]])
    checkpoint = capture(model, [BestWeights("val_loss")], None, Position(1, step), seconds=1.0)
    with start(store, model, checkpoint) as callback:
        model.reset_metrics()
        callback.on_epoch_begin(1)
        assert float(metric.result()) == counted
        assert callback.checkpoint is None
