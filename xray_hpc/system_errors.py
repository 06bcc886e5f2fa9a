"""Errors of the machine: its file systems, its memory and the limits of a process (``ulimit``).

They say that the machine lacks something, never that this program has a bug.
"""

from __future__ import annotations

import errno
import os

from xray_hpc.file_owner import denying_owner, uid_name
from xray_hpc.regular_file import IrregularFileError

# The file system is full, read-only, unmounted, not permitted or does not answer.
STORAGE_ERRORS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EIO,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ESHUTDOWN,
        errno.ETIMEDOUT,
        errno.EACCES,
        errno.EPERM,
    }
)
LIMITS = {
    errno.EMFILE: "this process has too many open files",
    errno.ENFILE: "this machine has too many open files",
    errno.EAGAIN: "cannot start another process",
    errno.ENOMEM: "not enough memory",
}
REMOVE = "remove or move it"
ADVICE = {
    errno.ENOSPC: "make room on its file system",
    errno.EDQUOT: "remove files, or ask for a larger quota",
    errno.EFBIG: "raise ulimit -f",
    errno.EROFS: "its file system must be writable",
    errno.EMFILE: "raise ulimit -n",
    errno.ENFILE: "try again later",
    errno.EAGAIN: "raise ulimit -u",
    errno.ENOMEM: "raise ulimit -v, or use a machine with more",
    errno.EISDIR: REMOVE,
    errno.ELOOP: REMOVE,
}
NO_LIBRARY = ("failed to map segment", "cannot allocate memory")  # of the dynamic linker
NO_THREAD = "can't start new thread"  # a RuntimeError without a number


def describe_system_error(error: BaseException) -> str | None:
    """Return the problem and the fix in one line; ``None`` for an error of another kind."""
    if lacks_memory(error):
        if ADVICE[errno.ENOMEM] in str(error):
            return str(error)
        size = f" ({error})" if isinstance(error, MemoryError) and str(error) else ""
        return f"{LIMITS[errno.ENOMEM]}{size}; {ADVICE[errno.ENOMEM]}"
    if isinstance(error, RuntimeError) and NO_THREAD in str(error):
        return "cannot start another thread; raise ulimit -u and ulimit -v"
    if not isinstance(error, OSError):
        return None
    if error.errno in LIMITS:
        return f"{LIMITS[error.errno]}; {ADVICE[error.errno]}"
    if error.errno not in STORAGE_ERRORS:
        return None
    where = error.filename or "a file"
    return f"{where}: {error.strerror}; {advice(error)}, and run again"


def lacks_memory(error: BaseException) -> bool:
    """Return whether memory was short, be it to load a library."""
    if isinstance(error, ImportError):
        return any(reason in str(error).lower() for reason in NO_LIBRARY)
    return isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM


def advice(error: OSError) -> str:
    """Return what to do about an error, as a clause."""
    name = error.filename
    path = name if isinstance(name, str | os.PathLike) else None  # not the number of an open file
    if error.errno in (errno.EACCES, errno.EPERM):
        return _ask_owner(path)
    in_place_of_folder = error.errno == errno.ENOTDIR and path and os.path.lexists(path)
    if in_place_of_folder or isinstance(error, IrregularFileError):
        return REMOVE
    fails = "its file system fails; ask its administrator"
    return ADVICE.get(error.errno or 0, fails if error.errno in STORAGE_ERRORS else "correct that")


def _ask_owner(path: str | os.PathLike[str] | None) -> str:
    owner = None if path is None else denying_owner(path)
    if owner is None:
        return "ask its owner for access"
    if owner == uid_name(os.geteuid()):
        return "change its permissions"
    return f"ask its owner, {owner}, for access"
