from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from xray_hpc.data.tf_callbacks import BufferPool


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_buffer_pool_reuses_released_memory() -> None:
    pool = BufferPool((3, 5))
    first = address(pool.take())
    assert address(pool.take()) == first


@pytest.mark.parametrize("part", [lambda a: a, lambda a: a[1:], lambda a: a.reshape(-1)[2:].T])
def test_buffer_pool_keeps_memory_while_a_view_exists(part: object) -> None:
    pool = BufferPool((3, 5))
    held = part(pool.take())  # type: ignore[operator]
    held[:] = 7
    for _ in range(3):
        pool.take()[:] = 0
    assert (held == 7).all()


def test_buffer_pool_arrays_are_not_copied_by_tensorflow() -> None:
    """TensorFlow copies arrays that are not aligned for the widest instructions of the CPU."""
    import tensorflow as tf

    pool = BufferPool((3, 5))
    addresses = []

    def make(number: int) -> np.ndarray:
        array = pool.take()
        array[:] = number
        addresses.append(address(array))
        return array

    numbers = tf.data.Dataset.range(4)
    made = numbers.map(lambda n: tf.numpy_function(make, [n], tf.uint8, stateful=False))
    held = [np.asarray(memoryview(tensor)) for tensor in made]
    assert {address(array) for array in held} == set(addresses)
    assert [int(array.max()) for array in held] == [0, 1, 2, 3]


PROGRAM = """
import sys
import numpy as np
from xray_hpc.config.run_config import AugmentConfig
from xray_hpc.data.input_pipeline import training_batches

images = np.zeros((256, 224, 224, 3), np.uint8)
batches = iter(
    training_batches(
        images, np.arange(256) % 2, np.arange(256), targets="sigmoid", classes=2, batch_size=32,
        input_size=224, augment=AugmentConfig(rotation=30), balance="none", seed=1,
        epochs=range(1000),
    )
)
next(batches)
"""


@pytest.mark.parametrize(("end", "code"), [("sys.exit(3)", 3), ("raise ZeroDivisionError", 1)])
def test_callback_guard_preserves_the_exit_code(end: str, code: int) -> None:
    command = [sys.executable, "-c", f"{PROGRAM}\n{end}"]
    assert subprocess.run(command, capture_output=True, timeout=300).returncode == code
