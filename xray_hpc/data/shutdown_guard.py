"""Having other threads out of Python when the interpreter ends.

A thread that wants to go on in Python then is ended by the interpreter. In the midst of C++, such
as TensorFlow's and OpenCV's, that aborts the process, whatever its exit code was to be.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

QUIET_SECONDS = 0.2
MOST_SECONDS = 10.0

_ending = threading.Event()
_inside: deque[None] = deque()
_entered = 0.0


@contextmanager
def working() -> Iterator[bool]:
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
