"""When a state is written, with a training of one weight in the place of a real one."""

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
from xray_hpc.training.callbacks import BestWeights
from xray_hpc.training.checkpoint import CheckpointCallback, capture
from xray_hpc.training.checkpoint_store import Checkpoint, CheckpointStore, Position

EPOCHS, STEPS = 2, 5


class Files(CheckpointStore):
    """Remembers what is written; each write waits while ``slow`` is not set."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {})
        object.__setattr__(self, "positions", [])
        object.__setattr__(self, "slow", threading.Event())
        self.slow.set()

    positions: list[Position]
    slow: threading.Event

    def save(self, state: Checkpoint) -> None:
        assert self.slow.wait(60)
        super().save(state)
        self.positions.append(state.position)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "checkpoint")


@pytest.fixture
def model() -> keras.Model:
    made = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    made.compile(optimizer="sgd", loss="mse")
    made.stop_training = False
    return made


@pytest.fixture(autouse=True)
def _never_held_afterwards() -> Iterator[None]:
    yield
    assert not signals.UNSAVED_WORK.locked()


def checkpointing(
    files: Files, model: keras.Model, state: Checkpoint | None = None, **every: Any
) -> CheckpointCallback:
    config = CheckpointConfig(**({"seconds": None} | every))
    keep = BestWeights("val_loss")
    made = CheckpointCallback(
        files, config, best_weights=keep, callbacks=[keep], checkpoint=state, clock=lambda: 1.0,
        epochs=EPOCHS, steps=STEPS,
    )  # fmt: skip
    made.set_model(model)
    made.on_train_begin()
    return made


def go(callback: CheckpointCallback, *, epochs: int = EPOCHS, settle: bool = True) -> None:
    """Call it as a training does; wait for each write to end if ``settle``."""
    for epoch in range(epochs):
        callback.on_epoch_begin(epoch)
        for step in range(STEPS):
            callback.on_train_batch_end(step)
            if settle and callback._write is not None:
                callback._write.result()
        callback.on_epoch_end(epoch)


def test_so_many_steps_after_the_last_across_epochs(files: Files, model: keras.Model) -> None:
    with checkpointing(files, model, steps=3) as callback:
        go(callback)
    assert files.positions == [(0, 3), (1, 1), (1, 4), (2, 0)]


def test_without_steps_or_seconds_only_after_the_last_epoch(
    files: Files, model: keras.Model
) -> None:
    with checkpointing(files, model) as callback:
        go(callback)
    assert files.positions == [(EPOCHS, 0)]


def test_after_an_epoch_that_is_the_last_because_training_stops(
    files: Files, model: keras.Model
) -> None:
    model.stop_training = True
    with checkpointing(files, model) as callback:
        go(callback, epochs=1)
        newest = files.load_newest()
    assert newest is not None
    assert (newest.position, newest.stopped) == ((1, 0), True)


def test_no_seconds_means_after_each_step(files: Files, model: keras.Model) -> None:
    with checkpointing(files, model, seconds=0) as callback:
        go(callback, epochs=1)
    assert files.positions == [*((0, step + 1) for step in range(STEPS)), (1, 0)]


def test_training_does_not_wait_for_a_write_nor_begin_another(
    files: Files, model: keras.Model
) -> None:
    with checkpointing(files, model, steps=1) as callback:
        files.slow.clear()
        go(callback, epochs=1, settle=False)
        assert files.positions == []
        files.slow.set()
        go(callback)
    assert files.positions[0] == (0, 1)
    assert files.positions[-1] == (EPOCHS, 0)
    assert len(files.positions) < (EPOCHS + 1) * STEPS


def test_what_goes_wrong_in_a_write_ends_the_training(
    files: Files, model: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(state: Checkpoint) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CheckpointStore, "save", lambda self, state: fail(state))
    with (
        checkpointing(files, model, steps=2) as callback,
        pytest.raises(OSError, match="No space left"),
    ):
        go(callback, settle=False)


def test_a_process_with_steps_that_are_in_no_checkpoint_is_not_ended(
    files: Files, model: keras.Model
) -> None:
    with checkpointing(files, model) as callback:
        callback.on_epoch_begin(0)
        assert not signals.UNSAVED_WORK.locked()
        callback.on_train_batch_end(0)
        assert signals.UNSAVED_WORK.locked()


class EndedError(BaseException):
    """The process has ended."""


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    def end() -> None:
        signals.UNSAVED_WORK.release()
        raise EndedError

    monkeypatch.setattr(signals, "received_signal", lambda: SIGTERM)
    monkeypatch.setattr(signals, "exit_after_signal", end)


@pytest.mark.usefixtures("told")
def test_a_training_told_to_end_writes_its_step_first(
    files: Files, model: keras.Model, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "xray_hpc")
    with checkpointing(files, model) as callback, pytest.raises(EndedError):
        go(callback)
    assert files.positions == [(0, 1)]
    line = f"Received SIGTERM; checkpoint saved at epoch 1/{EPOCHS}, step 1/{STEPS}."
    assert caplog.messages == [line]


@pytest.mark.usefixtures("told")
def test_where_it_cannot_be_written_that_is_said(
    files: Files,
    model: keras.Model,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(self: CheckpointStore, state: Checkpoint) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Files, "save", fail)
    with checkpointing(files, model) as callback, pytest.raises(EndedError):
        go(callback)
    assert "[Errno 28] No space left on device" in caplog.text


@pytest.mark.usefixtures("told")
def test_one_with_nothing_to_lose_is_ended_by_the_signal_itself(
    files: Files, model: keras.Model
) -> None:
    with checkpointing(files, model) as callback:
        callback.save_if_due()  # between two batches of a validation, say
    assert files.positions == []


def test_a_place_is_not_written_twice(files: Files, model: keras.Model) -> None:
    with checkpointing(files, model, seconds=0) as callback:
        callback.on_epoch_begin(0)
        callback.on_train_batch_end(STEPS - 1)
        for _ in range(3):
            callback._write.result()  # type: ignore[union-attr]
            callback.save_if_due()  # between the batches of a validation
    assert files.positions == [(0, STEPS)]


@pytest.mark.parametrize(("step", "counted"), [(3, 4.0), (0, 0.0)])
def test_only_within_an_epoch_metrics_go_on(
    files: Files, model: keras.Model, step: int, counted: float
) -> None:
    metric = keras.metrics.MeanSquaredError(name="error")
    model.compile(optimizer="sgd", loss="mse", metrics=[metric])
    model.fit(np.ones((8, 1)), np.ones((8, 1)), verbose=0)
    metric.reset_state()
    metric.update_state([[0.0]], [[2.0]])
    state = capture(model, [], None, position=Position(1, step), seconds=1.0)
    with checkpointing(files, model, state) as callback:
        model.reset_metrics()
        callback.on_epoch_begin(1)
        assert float(metric.result()) == counted
        assert callback.checkpoint is None
