# The types of Keras that functions of this package take and return. Everything else is Any.

from collections.abc import Sequence
from typing import Any, overload

from keras import callbacks as callbacks
from keras import layers as layers
from keras import optimizers as optimizers

class KerasTensor:
    shape: tuple[Any, ...]
    dtype: str
    _keras_history: Any
    def __sub__(self, other: Any) -> KerasTensor: ...
    def __truediv__(self, other: Any) -> KerasTensor: ...

class Layer:
    name: str
    trainable: bool
    input: Any
    output: Any
    weights: list[Any]
    variables: list[Any]
    trainable_variables: list[Any]
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    @overload
    def __call__(self, inputs: KerasTensor | Sequence[KerasTensor]) -> KerasTensor: ...
    @overload
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def count_params(self) -> int: ...
    def __getattr__(self, name: str) -> Any: ...

class Model(Layer):
    inputs: list[KerasTensor]
    outputs: list[KerasTensor]
    layers: list[Layer]
    stop_training: bool
    def get_layer(self, name: str) -> Any: ...

def __getattr__(name: str) -> Any: ...
