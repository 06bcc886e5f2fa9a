"""A checkpoint is a copy of the training checkpoint, and is restored bit for bit."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest

from xray_hpc.training.checkpoint import capture, restore, restore_metrics
from xray_hpc.training.checkpoint_store import Checkpoint, Position
from xray_hpc.training.epoch_callbacks import BestWeights
from xray_hpc.training.strategy import make_strategy

IMAGES = np.random.default_rng(1).uniform(0, 255, (8, 8, 8, 1)).astype(np.float32)
LABELS = np.arange(8, dtype=np.float32)[:, None] % 2

pytestmark = pytest.mark.usefixtures("precision")


@pytest.fixture(params=["float32", "mixed_float16", "mixed_bfloat16"])
def precision(request: pytest.FixtureRequest) -> Iterator[None]:
    keras.config.set_dtype_policy(request.param)
    yield
    keras.config.set_dtype_policy("float32")


def model() -> keras.Model:
    """Return a model with every kind of changing variable: moments, seeds, statistics, metrics.

    Under mixed precision Keras wraps the optimizer in one that scales the loss.
    """
    keras.utils.set_random_seed(5)
    with make_strategy(["CPU:0"]).scope():
        built = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Conv2D(4, 3, use_bias=False),
                keras.layers.BatchNormalization(),
                keras.layers.Flatten(),
                keras.layers.Dropout(0.5),
                keras.layers.Dense(1, activation="sigmoid", dtype="float32"),
            ]
        )
        built.compile(
            optimizer=keras.optimizers.Adam(1e-2),
            loss="binary_crossentropy",
            metrics=[keras.metrics.BinaryAccuracy()],
        )
        built.optimizer.build(built.trainable_variables)
    return built


def train(trained: keras.Model, steps: int) -> None:
    """Train without resetting the metrics."""
    for _ in range(steps):
        trained.train_on_batch(IMAGES, LABELS)


def captured(trained: keras.Model, best_weights: BestWeights) -> Checkpoint:
    return capture(trained, [], best_weights.weights, position=Position(0, 1), seconds=0.0)


def bits(checkpoint: Checkpoint) -> dict[str, list[tuple[str, bytes]]]:
    return {
        group: [(array.dtype.str, array.tobytes()) for array in arrays]
        for group, arrays in checkpoint.arrays.items()
    }


def best_so_far(trained: keras.Model) -> BestWeights:
    best_weights = BestWeights("val_loss")
    best_weights.set_model(trained)
    best_weights.on_epoch_end(0, {"val_loss": 1.0})
    return best_weights


def test_captured_arrays_do_not_change_in_further_training() -> None:
    trained = model()
    train(trained, 2)
    best_weights = best_so_far(trained)
    checkpoint = captured(trained, best_weights)
    before = bits(checkpoint)
    train(trained, 3)
    assert bits(checkpoint) == before
    now = bits(captured(trained, best_weights))
    assert now["best"] == before["best"]
    for group in ("model", "optimizer", "metrics"):
        assert now[group] != before[group]


def test_captured_arrays_own_their_memory() -> None:
    trained = model()
    train(trained, 1)
    checkpoint = captured(trained, best_so_far(trained))
    assert {array.flags.owndata for arrays in checkpoint.arrays.values() for array in arrays} == {
        True
    }


def test_restore_is_exact_to_the_bit() -> None:
    trained = model()
    train(trained, 2)
    best_weights = best_so_far(trained)
    checkpoint = captured(trained, best_weights)
    train(trained, 3)
    best_weights.weights = restore(checkpoint, trained, [])
    restore_metrics(checkpoint, trained)
    assert bits(captured(trained, best_weights)) == bits(checkpoint)


def test_restored_model_trains_bit_for_bit_the_same() -> None:
    first, second = model(), model()
    train(first, 2)
    best_weights = best_so_far(first)
    checkpoint = captured(first, best_weights)
    train(second, 1)  # builds the metrics and changes the weights
    best_weights.weights = restore(checkpoint, second, [])
    restore_metrics(checkpoint, second)
    for whole in (first, second):
        train(whole, 3)
    assert bits(captured(first, best_weights)) == bits(captured(second, best_weights))


@pytest.mark.parametrize("precision", ["mixed_float16"], indirect=True)
def test_loss_scale_and_its_counter_are_captured() -> None:
    trained = model()
    scaling = trained.optimizer
    assert isinstance(scaling, keras.optimizers.LossScaleOptimizer)
    scaling.dynamic_scale.assign(1.0)  # an overflow would reset the counter
    train(trained, 2)
    scaling.dynamic_scale.assign(1024.0)
    checkpoint = captured(trained, best_so_far(trained))
    scaling.dynamic_scale.assign(2048.0)
    train(trained, 1)
    restore(checkpoint, trained, [])
    assert scaling.dynamic_scale.numpy() == 1024
    assert scaling.step_counter.numpy() == 2
