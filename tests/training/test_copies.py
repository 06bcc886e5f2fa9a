"""A captured state is a copy: what trains on does not change it, and it is put back bit for bit."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest

from xray_hpc.training.callbacks import BestWeights
from xray_hpc.training.checkpoint import capture, restore, restore_metrics
from xray_hpc.training.checkpoint_store import Checkpoint, Position
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
    """Every kind of variable that changes: moments, seeds, statistics, what the metrics count.

    Under mixed precision Keras puts an optimizer that scales the loss around its own.
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
    """Train without forgetting what the metrics have counted."""
    for _ in range(steps):
        trained.train_on_batch(IMAGES, LABELS)


def taken(trained: keras.Model, keep: BestWeights) -> Checkpoint:
    return capture(trained, [], keep.weights, position=Position(0, 1), seconds=0.0)


def bits(state: Checkpoint) -> dict[str, list[tuple[str, bytes]]]:
    return {
        group: [(array.dtype.str, array.tobytes()) for array in arrays]
        for group, arrays in state.arrays.items()
    }


def best_so_far(trained: keras.Model) -> BestWeights:
    keep = BestWeights("val_loss")
    keep.set_model(trained)
    keep.on_epoch_end(0, {"val_loss": 1.0})
    return keep


def test_training_on_changes_nothing_of_what_was_captured() -> None:
    trained = model()
    train(trained, 2)
    keep = best_so_far(trained)
    state = taken(trained, keep)
    before = bits(state)
    train(trained, 3)
    assert bits(state) == before
    now = bits(taken(trained, keep))
    assert now["best"] == before["best"]
    for group in ("model", "optimizer", "metrics"):
        assert now[group] != before[group]


def test_no_captured_array_is_a_view_of_other_memory() -> None:
    trained = model()
    train(trained, 1)
    state = taken(trained, best_so_far(trained))
    assert {array.flags.owndata for arrays in state.arrays.values() for array in arrays} == {True}


def test_restoring_puts_every_bit_back() -> None:
    trained = model()
    train(trained, 2)
    keep = best_so_far(trained)
    state = taken(trained, keep)
    train(trained, 3)
    keep.weights = restore(state, trained, [])
    restore_metrics(state, trained)
    assert bits(taken(trained, keep)) == bits(state)


def test_another_model_goes_on_from_it_bit_for_bit() -> None:
    first, second = model(), model()
    train(first, 2)
    keep = best_so_far(first)
    state = taken(first, keep)
    train(second, 1)  # makes its metrics, and changes what was drawn for it
    keep.weights = restore(state, second, [])
    restore_metrics(state, second)
    for whole in (first, second):
        train(whole, 3)
    assert bits(taken(first, keep)) == bits(taken(second, keep))


@pytest.mark.parametrize("precision", ["mixed_float16"], indirect=True)
def test_the_scale_of_the_loss_and_its_counter_are_captured() -> None:
    trained = model()
    scaling = trained.optimizer
    assert isinstance(scaling, keras.optimizers.LossScaleOptimizer)
    scaling.dynamic_scale.assign(1.0)  # a step that 16 bits cannot hold would count from 0 again
    train(trained, 2)
    scaling.dynamic_scale.assign(1024.0)
    state = taken(trained, best_so_far(trained))
    scaling.dynamic_scale.assign(2048.0)
    train(trained, 1)
    restore(state, trained, [])
    assert scaling.dynamic_scale.numpy() == 1024
    assert scaling.step_counter.numpy() == 2
