from collections.abc import Callable

from keras import KerasTensor
from keras import Layer as Layer

class BatchNormalization(Layer):
    synchronized: bool

class Dropout(Layer):
    rate: float

Input: Callable[..., KerasTensor]

def __getattr__(name: str) -> type[Layer]: ...
