"""Pillow's warnings, suppressed while threads decode."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_caught: warnings.catch_warnings[None] | None = None


@contextmanager
def warnings_suppressed() -> Iterator[None]:
    """Suppress Pillow's warnings about EXIF and large images.

    ``warnings.catch_warnings`` changes the whole process, and interleaved threads could leave it
    changed. So the first thread to enter changes it, and the last one to leave restores it.
    """
    global _inside, _caught
    with _lock:
        if _inside == 0:
            _caught = warnings.catch_warnings()
            _caught.__enter__()
            warnings.simplefilter("ignore")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _caught is not None:
                _caught.__exit__(None, None, None)
                _caught = None
