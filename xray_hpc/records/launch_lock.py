"""One launch at a time on a sweep."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from xray_hpc.errors import LockedError
from xray_hpc.records.atomic_files import file_lock
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_record import now, user_name


@contextmanager
def launch_lock(sweep: SweepPaths, *, wait: bool = False) -> Iterator[int]:
    """Hold the sweep's lock, with this process's name in it; give its file descriptor.

    Raises:
        UserError: another launch holds it, and ``wait`` is false; the message names its user, host
            and process. Or the lock cannot be opened.
    """
    waiting = f"waiting for a launch that is at work on {sweep.folder}"
    try:
        with file_lock(sweep.lock, wait=wait, message=waiting) as lock:
            me = f"{user_name()} on {socket.gethostname()}, process {os.getpid()}"
            os.truncate(lock, 0)
            os.pwrite(lock, f"{me}, since {now()}".encode(), 0)
            yield lock
    except LockedError:
        owner = sweep.lock.read_text(errors="replace") or "somebody"
        raise LockedError(
            f"another launch is at work on {sweep.folder} ({owner}); wait for it"
        ) from None


def launch_running_since(sweep: SweepPaths) -> str | None:
    """Since when a launch is at work on the sweep, in UTC; ``None``: there is none."""
    if not sweep.lock.exists():
        return None
    try:
        with file_lock(sweep.lock, wait=False):
            return None
    except LockedError:
        taken = datetime.fromtimestamp(sweep.lock.stat().st_mtime, timezone.utc)
        return taken.isoformat(timespec="seconds")
