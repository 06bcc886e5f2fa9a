"""Guard of Python callbacks in TensorFlow's threads against the shutdown of the interpreter."""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

QUIET_SECONDS = 0.2
MAX_SECONDS = 10.0

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
