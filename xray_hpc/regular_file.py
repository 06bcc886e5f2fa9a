"""Read files that another user or a damaged disk may have replaced by anything.

``open`` waits for ever on a FIFO that nobody writes to, a device may never end, and a sparse file
of a few bytes on the disk may be larger than the memory.
"""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from xray_hpc.count_text import format_bytes

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class IrregularFileError(OSError):
    """There is no regular file at a path, or a larger one than any that belongs there."""


def open_regular(path: Path | str) -> BinaryIO:
    """Open a regular file for reading, without waiting for anything else.

    Raises:
        OSError: it cannot be opened, or is not a regular file. ``strerror`` is a short reason.
    """
    return os.fdopen(_open_regular(path, os.O_RDONLY), "rb")


def append_regular(path: Path | str) -> FileIO:
    """Open a regular file for appending, unbuffered; create it if it does not exist.

    A link is not followed: another user could have put it there, so that this user's file at its
    end is changed.

    Raises:
        OSError: as :func:`open_regular`, or ``path`` is a link.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    return FileIO(_open_regular(path, flags), "ab")


def _open_regular(path: Path | str, flags: int) -> int:
    # O_NOCTTY: opening a terminal must not make it the one of this process.
    flags |= os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP and flags & os.O_NOFOLLOW:
            problem = "a link, which is not followed"
            raise OSError(errno.ELOOP, problem, str(path)) from error
        raise
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "not a file")
            raise IrregularFileError(errno.EINVAL, f"{kind}, not a regular file", str(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: Path | str, most: int) -> bytes:
    """Return the contents of a regular file of at most ``most`` bytes.

    Raises:
        OSError: as :func:`open_regular`, or the file is larger.
    """
    return read_with_status(path, most)[0]


def read_with_status(path: Path | str, most: int) -> tuple[bytes, os.stat_result]:
    """Return what :func:`read_regular` does, and the owner and permissions of the file."""
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        if status.st_size <= most:  # a sparse file is not read to find out
            data = file.read(status.st_size + 1)
            if len(data) > status.st_size:  # it grows
                data += file.read(most + 1 - len(data))
            if len(data) <= most:
                return data, status
    raise IrregularFileError(errno.EINVAL, f"larger than {format_bytes(most)}", str(path))
