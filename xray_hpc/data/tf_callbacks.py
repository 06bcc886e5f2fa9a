"""Buffers and shutdown of the Python functions that ``tf.data`` calls from its threads."""

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
MAX_SECONDS = 10.0


class BufferPool:
    """Pool of uninitialized ``uint8`` arrays of one shape, whose memory is reused.

    Fresh memory costs a page fault per page, several times the cost of copying a batch of images
    into it. The memory is page-aligned, so TensorFlow uses an array without a copy and releases it
    with the tensor.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._free: deque[mmap.mmap] = deque()

    def take(self) -> npt.NDArray[np.uint8]:
        """Return an array; its memory is reused once the array and all its views are gone."""
        try:
            memory = self._free.popleft()
        except IndexError:
            memory = mmap.mmap(-1, math.prod(self._shape))
        # NumPy views may drop the array they come from, but they keep this object alive.
        holder = (ctypes.c_uint8 * len(memory)).from_buffer(memory)
        weakref.finalize(holder, self._free.append, memory).atexit = False
        return np.frombuffer(memoryview(holder), np.uint8).reshape(self._shape)


_exiting = threading.Event()
_running: deque[None] = deque()
_last_start = 0.0


@contextmanager
def callback_guard() -> Iterator[bool]:
    """Mark a Python callback of a TensorFlow thread; yield whether its result is still needed.

    A thread that enters Python while the interpreter shuts down is ended by it. Inside C++ code
    such as TensorFlow's or OpenCV's, that aborts the process and replaces its exit code. So the
    exit waits for running callbacks, and later ones return at once.
    """
    global _last_start
    _last_start = time.monotonic()
    _running.append(None)
    try:
        yield not _exiting.is_set()
    finally:
        _running.pop()


@atexit.register
def _wait_for_callbacks() -> None:
    """Wait until no callback runs, and none has started for ``QUIET_SECONDS``."""
    _exiting.set()
    if not _last_start:
        return
    deadline = time.monotonic() + MAX_SECONDS
    while time.monotonic() < deadline and (
        _running or time.monotonic() - _last_start < QUIET_SECONDS
    ):
        time.sleep(QUIET_SECONDS / 4)
