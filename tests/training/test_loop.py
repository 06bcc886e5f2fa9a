"""The training loop: it equals ``Model.fit``, and starts between any two steps."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from xray_hpc.training import loop
from xray_hpc.training.checkpoint_store import Position
from xray_hpc.training.loop import run_epochs
from xray_hpc.training.strategy import make_strategy

EPOCHS, STEPS = 3, 4


class Recorder(keras.callbacks.Callback):
    """Record all calls, numbers as floats; stop training after an epoch."""

    def __init__(self, stop_after: int = EPOCHS) -> None:
        super().__init__()
        self.stop_after = stop_after
        self.calls: list[tuple[Any, ...]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.calls.append(("begin",))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.calls.append(("epoch begin", epoch))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.calls.append(("step begin", batch))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.calls.append(("step", batch, *map(float, logs.values())))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.calls.append(("epoch end", epoch, *map(float, logs.values())))
        self.model.stop_training = epoch + 1 == self.stop_after

    def on_train_end(self, logs: Any = None) -> None:
        self.calls.append(("end",))


def make_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((3,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
    with make_strategy(["CPU:0"]).scope():
        made = keras.Sequential(layers)
        made.compile(optimizer="adam", loss="mse", metrics=["mae"])
    return made


def batches(first: int = 0) -> tf.data.Dataset:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(EPOCHS * STEPS, 2, 3)), rng.normal(size=(EPOCHS * STEPS, 2, 1))
    pairs = x[first:].astype(np.float32), y[first:].astype(np.float32)
    return tf.data.Dataset.from_tensor_slices(pairs)


def weights(model: keras.Model) -> list[list[float]]:
    return [weight.tolist() for weight in model.get_weights()]


@pytest.mark.parametrize("stop_after", [EPOCHS, 2])
def test_run_epochs_equals_keras_fit(stop_after: int) -> None:
    fitted, looped = make_model(), make_model()
    expected, recorder = Recorder(stop_after), Recorder(stop_after)
    fitted.fit(
        batches(), epochs=EPOCHS, steps_per_epoch=STEPS, verbose=0, shuffle=False,
        callbacks=[expected],
    )  # fmt: skip
    run_epochs(looped, batches(), [recorder], start=Position(0, 0), epochs=EPOCHS, steps=STEPS)
    assert recorder.calls == expected.calls
    assert weights(looped) == weights(fitted)


def test_several_steps_per_call_give_the_same_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "TIMED_STEPS", 1)
    monkeypatch.setattr(loop, "CALL_SECONDS", 3600)  # no step is slow, however busy the machine
    one, several = Recorder(), Recorder()
    singly, together = make_model(), make_model()
    for trained, recorder, most in ((singly, one, 1), (together, several, 64)):
        places = {"start": Position(0, 0), "epochs": EPOCHS, "steps": STEPS}
        run_epochs(trained, batches(), [recorder], **places, max_steps=lambda most=most: most)  # type: ignore[misc, arg-type]
    calls = [call[1] for call in several.calls if call[0] == "step"]
    assert calls == [0, 1, 3, 3, 3]  # after the two that are timed, an epoch's rest is one call
    assert several.calls[-2:] == one.calls[-2:]
    assert weights(together) == weights(singly)


def test_slow_steps_reduce_the_steps_per_call() -> None:
    execute = loop._StepExecutor(make_model(), batches())
    execute.steps_per_call = execute.most_steps = 16
    paces = []
    for seconds in (0.01, 0.3, 0.3, 0.1, 0.01, 0.01, 0.01):
        execute._adapt(execute.steps_per_call, seconds)
        paces.append(execute.steps_per_call)
    assert paces == [16, 8, 4, 4, 8, 16, 16]
    execute.steps_per_call = 8
    execute._adapt(3, 0.01)  # the last ones of an epoch say nothing
    assert execute.steps_per_call == 8


def test_run_epochs_starts_between_two_steps() -> None:
    recorder = Recorder()
    run_epochs(
        make_model(),
        batches(STEPS + 3),
        [recorder],
        start=Position(1, 3),
        epochs=EPOCHS,
        steps=STEPS,
    )
    steps = [call[:2] for call in recorder.calls if call[0] != "step begin"]
    assert steps == [
        ("begin",),
        *(("epoch begin", 1), ("step", 3), ("epoch end", 1)),
        *(("epoch begin", 2), *(("step", step) for step in range(STEPS)), ("epoch end", 2)),
        ("end",),
    ]


def test_run_epochs_only_ends_an_epoch_with_complete_steps() -> None:
    recorder, last = Recorder(), EPOCHS - 1
    no_batches = batches(EPOCHS * STEPS)
    run_epochs(
        make_model(),
        no_batches,
        [recorder],
        start=Position(last, STEPS),
        epochs=EPOCHS,
        steps=STEPS,
    )
    assert [call[0] for call in recorder.calls] == ["begin", "epoch begin", "epoch end", "end"]


def test_run_epochs_after_the_last_epoch_needs_no_batches() -> None:
    recorder = Recorder()
    no_batches = batches(EPOCHS * STEPS)
    run_epochs(
        make_model(), no_batches, [recorder], start=Position(EPOCHS, 0), epochs=EPOCHS, steps=STEPS
    )
    assert recorder.calls == [("begin",), ("end",)]
