"""What a checkpoint captures of a model and its callbacks, and restores."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from xray_hpc.errors import DataError
from xray_hpc.training.checkpoint import capture, check_fits, restore
from xray_hpc.training.checkpoint_store import CheckpointStore, Position
from xray_hpc.training.epoch_callbacks import BestWeights

BACKBONE = (2, 2)
HEAD = (2, 1)


def model() -> keras.Model:
    """Return a frozen backbone, whose Dropout still draws, with a trainable head."""
    backbone = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(2, use_bias=False), keras.layers.Dropout(0.5)]
    )
    backbone.layers[0].trainable = backbone.layers[1].trainable = False
    head = keras.layers.Dense(1, use_bias=False)
    whole = keras.Sequential([keras.Input((2,)), backbone, head])
    whole.compile(optimizer=keras.optimizers.Adam(0.25), loss="mse")
    whole.optimizer.build(whole.trainable_variables)
    return whole


def trained(whole: keras.Model) -> keras.Model:
    whole.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, verbose=0)
    return whole


def shapes(arrays: list[np.ndarray]) -> list[tuple[int, ...]]:
    return [array.shape for array in arrays]


def test_capture_omits_frozen_weights_but_not_their_seeds() -> None:
    checkpoint = capture(
        model(), [], [np.ones(BACKBONE), np.ones(HEAD)], position=Position(1, 0), seconds=1.0
    )
    assert sorted(shapes(checkpoint.arrays["model"])) == [(2,), HEAD]
    assert shapes(checkpoint.arrays["best"]) == [HEAD]


def test_restore_gives_a_model_that_trains_like_the_captured_one() -> None:
    first, second = trained(model()), model()
    second.layers[0].set_weights(first.layers[0].get_weights())  # as read from the same file
    best = [weight + 1 for weight in first.get_weights()]
    checkpoint = capture(first, [], best, position=Position(2, 0), seconds=1.0)
    restored = restore(checkpoint, second, [])
    assert restored is not None
    np.testing.assert_array_equal(restored[0], second.get_weights()[0])
    np.testing.assert_array_equal(restored[1], best[1])
    for one, other in zip(trained(first).get_weights(), trained(second).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.callbacks.EarlyStopping("val_loss", patience=4, min_delta=0.1),
        lambda: keras.callbacks.ReduceLROnPlateau("val_loss", patience=4, cooldown=2),
        lambda: BestWeights("val_loss"),
    ],
)
def test_restore_sets_the_counters_of_callbacks(
    make: Callable[[], keras.callbacks.Callback],
) -> None:
    first, second, monitored = make(), make(), model()
    for callback in (first, second):
        callback.set_model(monitored)
        callback.on_train_begin()
    for epoch, loss in enumerate((0.9, 0.5, 0.7)):
        first.on_epoch_end(epoch, {"val_loss": loss})
    monitored.stop_training = False
    restore(
        capture(monitored, [first], None, position=Position(3, 0), seconds=1.0), monitored, [second]
    )
    for callback in (first, second):
        callback.on_epoch_end(3, {"val_loss": 0.6})
    numbers = {name: value for name, value in vars(first).items() if type(value) in (int, float)}
    assert numbers == {name: vars(second)[name] for name in numbers}


def test_check_fits_accepts_what_capture_returned(tmp_path: Path) -> None:
    whole, best = trained(model()), BestWeights("val_loss")
    store = CheckpointStore(tmp_path, {})
    for weights in (None, whole.get_weights()):
        for step in (0, 1):
            checkpoint = capture(whole, [best], weights, position=Position(1, step), seconds=1.0)
            store.save(checkpoint)
            loaded = store.load_newest()
            assert loaded is not None
            check_fits(loaded, whole, [best], store)


@pytest.mark.parametrize(
    "arrays",
    [
        {"model": []},
        {"model": [np.zeros(2, np.uint32), np.zeros((1, 2), np.float32)]},
        {"optimizer": [np.zeros((), np.float64)]},
        {"metrics": [np.zeros((), np.float32)]},
        {"best": [np.zeros((2, 1), np.float64)]},
        {"best": [np.zeros((2, 2), np.float32), np.zeros((2, 1), np.float32)]},
    ],
)
def test_check_fits_rejects_other_variables(tmp_path: Path, arrays: dict[str, Any]) -> None:
    whole = trained(model())
    checkpoint = capture(whole, [], whole.get_weights(), position=Position(1, 1), seconds=1.0)
    other = dataclasses.replace(checkpoint, arrays=checkpoint.arrays | arrays)
    with pytest.raises(DataError, match=f"remove {tmp_path} to train from the start"):
        check_fits(other, whole, [], CheckpointStore(tmp_path, {}))


@pytest.mark.parametrize(
    "callbacks", [{}, {"BestWeights": {"epoch": 0}}, {"BestWeights": {"epoch": 0, "model": 1}}]
)
def test_check_fits_rejects_other_attributes(tmp_path: Path, callbacks: dict[str, Any]) -> None:
    whole, best = trained(model()), BestWeights("val_loss")
    checkpoint = capture(whole, [best], None, position=Position(1, 0), seconds=1.0)
    other = dataclasses.replace(checkpoint, callbacks=callbacks)
    with pytest.raises(DataError, match="other variables"):
        check_fits(other, whole, [best], CheckpointStore(tmp_path, {}))
