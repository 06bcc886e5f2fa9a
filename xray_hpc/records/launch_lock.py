"""A lock that lets one launch at a time work on a sweep."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from xray_hpc.errors import LockedError
from xray_hpc.records.file_lock import file_lock
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_record import now, user_name


@contextmanager
def launch_lock(sweep: SweepPaths, *, wait: bool = False) -> Iterator[int]:
    """Hold the sweep's lock, which names this process, and yield its file descriptor.

    Raises:
        LockedError: another launch holds it, and ``wait`` is false; the message names it.
        StorageError: the file system cannot lock the file.
    """
    waiting = f"waiting for another launch of {sweep.folder}"
    try:
        with file_lock(sweep.lock, wait=wait, message=waiting) as lock:
            me = f"{user_name()} on {socket.gethostname()}, process {os.getpid()}"
            os.truncate(lock, 0)
            os.pwrite(lock, f"{me}, since {now()}".encode(), 0)
            yield lock
    except LockedError:
        owner = sweep.lock.read_text(errors="replace") or "unknown"
        raise LockedError(
            f"another launch of {sweep.folder} is running ({owner}); wait until it ends"
        ) from None


def launch_running_since(sweep: SweepPaths) -> str | None:
    """Return since when a launch has held the sweep's lock, in UTC; ``None`` if none does."""
    if not sweep.lock.exists():
        return None
    try:
        with file_lock(sweep.lock, wait=False):
            return None
    except LockedError:
        taken = datetime.fromtimestamp(sweep.lock.stat().st_mtime, timezone.utc)
        return taken.isoformat(timespec="seconds")
