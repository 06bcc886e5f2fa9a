"""An exclusive lock between the processes of all hosts, named by a file.

It is an ``flock``. Where a file system does not support that, it is a lease in the folder
``<file>.lease``, whose heartbeats tell that its owner is alive. A host that has ``flock`` acquires
the lease too if the folder exists, because another host may lack it.
"""

from __future__ import annotations

import errno
import fcntl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from xray_hpc.errors import LockedError, StorageError
from xray_hpc.records.lease import Lease, LeaseError

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
POLL_SECONDS = 1.0


@contextmanager
def file_lock(path: Path, *, wait: bool = True, message: str | None = None) -> Iterator[int]:
    """Hold an exclusive lock on ``path`` during the block, and yield its file descriptor.

    The lock is released when the process ends, however it does; without ``flock``, as soon as
    another process finds out: at once on the same host, after a minute on another. A child that
    inherits the file descriptor holds an ``flock``, too.

    Args:
        path: file to lock; created if missing.
        wait: whether to wait for another process that holds the lock. Without ``flock`` it may
            take 15 seconds to see that a process of another host does.
        message: printed to standard error before waiting.

    Raises:
        LockedError: another process holds the lock, and ``wait`` is false.
        StorageError: the file system cannot lock the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lease, announced = path.with_name(f"{path.name}.lease"), False

    def on_held() -> None:
        nonlocal announced
        if not wait:
            raise LockedError(str(path))
        if message and not announced:
            print(message, file=sys.stderr, flush=True)
        announced = True

    with path.open("a+b") as handle, ExitStack() as stack:
        if not _flock(handle, on_held) or lease.is_dir():
            stack.enter_context(_acquire_lease(lease, on_held))
        yield handle.fileno()


def _flock(handle: BinaryIO, on_held: Callable[[], None]) -> bool:
    """Lock an open file; return false if its file system does not support that."""
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_held()
            fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return False
        raise StorageError(f"cannot lock {handle.name} ({error.strerror})") from error
    return True


def _acquire_lease(folder: Path, on_held: Callable[[], None]) -> Lease:
    while True:
        try:
            return Lease.acquire(folder)
        except LeaseError:
            on_held()
            time.sleep(POLL_SECONDS)
