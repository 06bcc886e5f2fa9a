"""Arrays that are lent: their memory is used again when nobody has them any more."""

from __future__ import annotations

import ctypes
import math
import mmap
import weakref
from collections import deque

import numpy as np
import numpy.typing as npt


class LentArrays:
    """Lends arrays ``uint8`` of one shape, with anything in them.

    To get fresh memory from the system, page by page, takes several times as long as to copy a
    batch of images into it. The memory begins with a page, so that TensorFlow takes an array as it
    is, and lets go of it with the tensor.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._free: deque[mmap.mmap] = deque()

    def lend(self) -> npt.NDArray[np.uint8]:
        """An array that is nobody else's, as long as it, or a view of it, is anywhere."""
        try:
            memory = self._free.popleft()
        except IndexError:
            memory = mmap.mmap(-1, math.prod(self._shape))
        # NumPy lets views forget the array they are of, but not this.
        holder = (ctypes.c_uint8 * len(memory)).from_buffer(memory)
        weakref.finalize(holder, self._free.append, memory).atexit = False
        return np.frombuffer(memoryview(holder), np.uint8).reshape(self._shape)
