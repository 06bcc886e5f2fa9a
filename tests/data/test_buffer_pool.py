from __future__ import annotations

import numpy as np
import pytest

from xray_hpc.data.tf_callbacks import BufferPool


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_the_memory_of_an_array_that_nobody_has_is_lent_again() -> None:
    pool = BufferPool((3, 5))
    first = address(pool.take())
    assert address(pool.take()) == first


@pytest.mark.parametrize("part", [lambda a: a, lambda a: a[1:], lambda a: a.reshape(-1)[2:].T])
def test_an_array_of_which_anything_is_left_is_nobody_elses(part: object) -> None:
    pool = BufferPool((3, 5))
    kept = part(pool.take())  # type: ignore[operator]
    kept[:] = 7
    for _ in range(3):
        pool.take()[:] = 0
    assert (kept == 7).all()


def test_tensorflow_takes_an_array_as_it_is() -> None:
    """It would copy one that does not begin where its processor's widest instructions want it."""
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
    kept = [np.asarray(memoryview(tensor)) for tensor in made]
    assert {address(array) for array in kept} == set(addresses)
    assert [int(array.max()) for array in kept] == [0, 1, 2, 3]
