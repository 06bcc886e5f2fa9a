"""An exclusive lock between the processes of all hosts, named by a file.

It is an ``flock``. Where a file system does not support that, it is a lease in the folder
``<file>.lease``, whose heartbeats tell that its owner is alive. A host that has ``flock`` acquires
the lease too if the folder exists, because another host may lack it.

A user who may read but not write the file, because another user made it, locks it as well. NFS
does not let this user: there, and where the lease cannot be written, the user waits until the lock
is free and then gets a ``PermissionError``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from xray_hpc.errors import LockedError, StorageError
from xray_hpc.file_owner import uid_name
from xray_hpc.printable import printable
from xray_hpc.records.lease import Lease, LeaseError
from xray_hpc.records.lease_file import current_owner
from xray_hpc.shared_folder import make_folder, share

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
POLL_SECONDS = 1.0


@contextmanager
def file_lock(path: Path, *, wait: bool = True, message: str | None = None) -> Iterator[int]:
    """Hold an exclusive lock on ``path`` during the block, and yield its file descriptor.

    The lock is released when the process ends, however it does; without ``flock``, as soon as
    another process finds out: at once on the same host, after a minute on another. A child that
    inherits the file descriptor holds an ``flock``, too.

    Args:
        path: file to lock; created if missing, for all users of a shared folder.
        wait: whether to wait for another process that holds the lock. Without ``flock`` it may
            take 15 seconds to see that a process of another host does.
        message: printed to standard error before waiting, with the owner of another user's lock.

    Raises:
        LockedError: another process holds the lock, and ``wait`` is false.
        StorageError: the file system cannot lock the file, or it is not a regular file.
        OSError: this user may not create or read the file, or may not lock it; then no other
            process holds the lock.
    """
    make_folder(path.parent)
    lease, announced = path.with_name(f"{path.name}.lease"), False

    def on_held() -> None:
        nonlocal announced
        if not wait:
            raise LockedError(str(path))
        if message and not announced:
            print(printable(f"{message}{lock_owner(path)}"), file=sys.stderr, flush=True)
        announced = True

    with ExitStack() as stack:
        handle = _open(path)
        stack.callback(os.close, handle)
        if not _flock(handle, path, on_held) or lease.is_dir():
            stack.enter_context(_acquire_lease(lease, on_held))
        yield handle


def lock_owner(path: Path) -> str:
    """Return whose a lock is, such as `` (the lock is ada's)``; ``""`` for one of this user."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    other = status.st_uid != os.geteuid()
    return f" (the lock is {uid_name(status.st_uid)}'s)" if other else ""


def _open(path: Path) -> int:
    """Open the file for writing, or for reading if this user may do no more."""
    # Another user may have put a link or a FIFO there.
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise StorageError(f"{path} is not a regular file; remove it") from error
        if error.errno not in NOT_WRITABLE or not path.exists():
            raise
        handle = os.open(path, os.O_RDONLY | flags)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise StorageError(f"{path} is not a regular file; remove it")
    share(handle, path.parent)
    return handle


def _flock(handle: int, path: Path, on_held: Callable[[], None]) -> bool:
    """Lock an open file; return false if its file system does not support that."""
    try:
        try:
            _lock_or_wait(handle, fcntl.LOCK_EX, on_held)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            # NFS locks only files that are open for writing.
            _lock_or_wait(handle, fcntl.LOCK_SH, on_held)
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path)) from None
    except PermissionError:
        raise
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return False
        raise StorageError(f"cannot lock {path} ({error.strerror})") from error
    return True


def _lock_or_wait(handle: int, kind: int, on_held: Callable[[], None]) -> None:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        on_held()
        fcntl.flock(handle, kind)


def _acquire_lease(folder: Path, on_held: Callable[[], None]) -> Lease:
    while True:
        try:
            return Lease.acquire(folder)
        except LeaseError:
            on_held()
        except OSError as error:
            if error.errno not in NOT_WRITABLE or current_owner(folder) is None:
                raise
            on_held()
        time.sleep(POLL_SECONDS)
