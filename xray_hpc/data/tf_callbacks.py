"""Python functions that TensorFlow's threads call in ``tf.data``: their buffers, and their end."""

from __future__ import annotations

import atexit
import ctypes
import math
import mmap
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

QUIET_SECONDS = 0.2
MOST_SECONDS = 10.0


class BufferPool:
    """Lends arrays ``uint8`` of one shape, with anything in them.

    To get fresh memory from the system, page by page, takes several times as long as to copy a
    batch of images into it. The memory begins with a page, so that TensorFlow takes an array as it
    is, and lets go of it with the tensor.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._free: deque[mmap.mmap] = deque()

    def take(self) -> npt.NDArray[np.uint8]:
        """An array that is nobody else's, as long as it, or a view of it, is anywhere."""
        try:
            memory = self._free.popleft()
        except IndexError:
            memory = mmap.mmap(-1, math.prod(self._shape))
        # NumPy lets views forget the array they are of, but not this.
        holder = (ctypes.c_uint8 * len(memory)).from_buffer(memory)
        weakref.finalize(holder, self._free.append, memory).atexit = False
        return np.frombuffer(memoryview(holder), np.uint8).reshape(self._shape)


_ending = threading.Event()
_inside: deque[None] = deque()
_entered = 0.0


@contextmanager
def callback_guard() -> Iterator[bool]:
    """Around what a thread of TensorFlow does in Python: whether there is any use in it still."""
    global _entered
    _entered = time.monotonic()
    _inside.append(None)
    try:
        yield not _ending.is_set()
    finally:
        _inside.pop()


@atexit.register
def _wait() -> None:
    """Have the threads fill what they fill with nothing, and wait until none comes any more."""
    _ending.set()
    if not _entered:
        return
    until = time.monotonic() + MOST_SECONDS
    while time.monotonic() < until and (_inside or time.monotonic() - _entered < QUIET_SECONDS):
        time.sleep(QUIET_SECONDS / 4)
