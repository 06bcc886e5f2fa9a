"""A lock that lets one launch at a time work on a sweep."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from xray_hpc.errors import LockedError, StorageError
from xray_hpc.file_owner import owner_name
from xray_hpc.records import ledger
from xray_hpc.records.file_lock import file_lock
from xray_hpc.records.paths import SweepPaths, require_folder
from xray_hpc.records.run_record import now, user_name
from xray_hpc.regular_file import read_regular

MAX_BYTES = 1 << 16  # of the file, which another process may have written


@dataclass(frozen=True)
class LaunchLock:
    """The lock of a launch; events of the ledger from ``position`` on came after its start."""

    descriptor: int
    position: int


@contextmanager
def launch_lock(sweep: SweepPaths, *, wait: bool = False) -> Iterator[LaunchLock]:
    """Hold the sweep's lock, which names this process.

    Raises:
        LockedError: another launch holds it, and ``wait`` is false; the message names it.
        StorageError: the file system cannot lock the file, another user's cannot be written, or the
            sweep's folder is gone.
    """
    require_folder(sweep)
    waiting = f"waiting for another launch of {sweep.folder}"
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(file_lock(sweep.lock, wait=wait, message=waiting))
        except LockedError:
            owner, _ = _read(sweep)
            raise LockedError(
                f"another launch of {sweep.folder} is running ({owner}); wait until it ends"
            ) from None
        if not os.access(sweep.lock, os.W_OK):
            raise StorageError(
                f"{sweep.lock} cannot be written; ask its owner, {owner_name(sweep.lock)}, "
                "for access to the sweep, or choose another folder with name=NAME"
            )
        me = f"{user_name()} on {socket.gethostname()}, process {os.getpid()}"
        position = ledger.size(sweep)
        content = f"{me}, since {now()}\n{position}\n".encode()
        try:
            os.pwrite(lock, content, 0)  # never empty for a process that reads it now
            os.truncate(lock, len(content))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(sweep.lock)) from error
        yield LaunchLock(lock, position)


def running_launch_position(sweep: SweepPaths) -> int | None:
    """Return the position of the launch that holds the sweep's lock; ``None`` if none does."""
    if not sweep.lock.exists():
        return None
    try:
        with file_lock(sweep.lock, wait=False):
            return None
    except LockedError:
        return _read(sweep)[1]
    except (OSError, StorageError):  # this user may not lock it; nobody is known to hold it
        return None


def _read(sweep: SweepPaths) -> tuple[str, int]:
    """Return the owner and the position in the lock; the ledger's end if it holds none."""
    try:
        content = read_regular(sweep.lock, MAX_BYTES)
    except OSError:
        content = b""
    owner, position, *_ = (*content.split(b"\n"), b"", b"")
    end = int(position) if re.fullmatch(rb"[0-9]{1,18}", position) else ledger.size(sweep)
    return owner.decode(errors="replace") or "unknown", end
