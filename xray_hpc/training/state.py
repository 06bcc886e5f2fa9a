"""What a training must remember to go on exactly: taken from a model and its callbacks, and put
back.

The order of the images and their augmentation are not in it: both are functions of the seed and the
epoch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from xray_hpc.models.layer_graph import flat_layers
from xray_hpc.training.checkpoint import Arrays, Position, State

# A callback holds more than this, such as min_delta with a sign that it turns as it starts.
REMEMBERED = {
    "EarlyStopping": ("wait", "best", "best_epoch", "stopped_epoch"),
    "ReduceLROnPlateau": ("wait", "best", "cooldown_counter"),
    "Keep": ("epoch", "best"),
    "EpochTables": ("history",),
}


def capture(
    model: keras.Model,
    callbacks: Sequence[keras.callbacks.Callback],
    best: Arrays | None,
    *,
    position: Position,
    seconds: float,
) -> State:
    """A copy of the state of ``model`` and ``callbacks`` at ``position``.

    ``best`` are the weights that are kept so far, as ``model.get_weights()`` gave them; they are
    not copied.
    """
    arrays = {
        "model": [_value(variable) for variable in _changing(model)],
        "optimizer": [_value(variable) for variable in model.optimizer.variables],
        "metrics": [_value(variable) for variable in model.metrics_variables],
    }
    if best is not None:
        arrays["best"] = [best[i] for i in _changing_weights(model)]
    remembered = {
        name: {item: copy.deepcopy(getattr(callback, item)) for item in REMEMBERED[name]}
        for callback in callbacks
        if (name := type(callback).__name__) in REMEMBERED
    }
    return State(position, bool(model.stop_training), seconds, remembered, arrays)


def restore(
    state: State, model: keras.Model, callbacks: Sequence[keras.callbacks.Callback]
) -> Arrays | None:
    """Put ``state`` back, but for the metrics; give the weights that are kept so far."""
    _assign(_changing(model), state.arrays["model"])
    _assign(model.optimizer.variables, state.arrays["optimizer"])
    for callback in callbacks:
        for attribute, value in state.callbacks.get(type(callback).__name__, {}).items():
            setattr(callback, attribute, value)
    if "best" not in state.arrays:
        return None
    best: Arrays = model.get_weights()
    for i, array in zip(_changing_weights(model), state.arrays["best"], strict=True):
        best[i] = array
    return best


def restore_metrics(state: State, model: keras.Model) -> None:
    """Put back what the metrics have counted so far in the epoch."""
    _assign(model.metrics_variables, state.arrays["metrics"])


def _assign(variables: Sequence[keras.Variable], arrays: Arrays) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _value(variable: keras.Variable) -> npt.NDArray[np.generic]:
    # Not keras.ops.convert_to_numpy: of a metric each replica has a part, and these are added.
    return np.array(tf.convert_to_tensor(variable.value))


def _changing(model: keras.Model) -> list[keras.Variable]:
    """The model's variables, seeds too, without those that stay as they were built.

    Most of a pretrained backbone is frozen: its weights are those of its file.
    """
    frozen = _frozen(model)
    return [variable for variable in model.variables if id(variable) not in frozen]


def _changing_weights(model: keras.Model) -> list[int]:
    frozen = _frozen(model)
    return [i for i, weight in enumerate(model.weights) if id(weight) not in frozen]


def _frozen(model: keras.Model) -> set[int]:
    # Not layer.variables: a frozen layer still draws random numbers.
    layers = [layer for layer in flat_layers(model) if not layer.trainable]
    return {id(weight) for layer in layers for weight in layer.weights}
