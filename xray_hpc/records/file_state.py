"""The state of a file as its run left it, to notice later that it has changed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from xray_hpc.regular_file import open_regular

MISSING = "is missing"
BLOCK_BYTES = 1 << 20
VERDICTS = 1 << 17  # to remember: on the 20 files of each of 6,500 runs, in 50 MB
STATE = re.compile(r"(\d{1,19}) (-?\d{1,19}) ([0-9a-f]{64})")


def file_state(path: Path | str) -> str:
    """Return size in bytes, time of change in nanoseconds since 1970 and SHA-256 of a file.

    One text, because ``status`` reads twenty of them for each of thousands of runs.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
    """
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        return f"{status.st_size} {status.st_mtime_ns} {_digest(file)}"


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def find_change(path: str, state: str | None, *, whole: bool) -> str | None:
    """Return how a file differs from its recorded :func:`file_state`; ``None`` if it does not.

    The file is read only if its time differs, as after a copy, or if the ``whole`` content is to be
    compared. Then its time is set to what the comparison has shown, where this user may: to the
    recorded time, or to another one. Later calls can skip reading it. A link is followed, but the
    time of its target is left as it is.

    Args:
        state: ``None`` if only its presence matters.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return MISSING
    if not stat.S_ISREG(status.st_mode) or not _is_readable(path, status):
        open_regular(path).close()
    if state is None:
        return None
    size, time, checksum = state.split()
    if status.st_size != int(size):
        return f"has {status.st_size} bytes instead of {size}"
    if whole:
        same = _compare_and_mark(path, int(time), checksum)
    elif status.st_mtime_ns == int(time):
        return None
    else:
        identity = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        same = _has_checksum(path, checksum, identity)
    return None if same else "does not match its checksum"


@functools.lru_cache(maxsize=VERDICTS)
def _has_checksum(path: str, checksum: str, identity: tuple[int, ...]) -> bool:
    """Compare a file; remember it, so that ``status --watch`` reads an unchanged one once."""
    return file_state(path).endswith(checksum)


def _compare_and_mark(path: str, time: int, checksum: str) -> bool:
    """Return whether the content has this checksum, and set the file's time accordingly."""
    with open_regular(path) as file:
        same, status = _digest(file) == checksum, os.fstat(file.fileno())
        if same != (status.st_mtime_ns == time):
            with contextlib.suppress(OSError):
                if not _is_linked(path, status):
                    if same:
                        os.utime(file.fileno(), ns=(status.st_atime_ns, time))
                    else:
                        os.utime(file.fileno())
    return same


def _is_linked(path: str, status: os.stat_result) -> bool:
    """Return whether ``path`` or its folder is a link that led to the open file of ``status``.

    Another user could have put it there, and the file is not one of the run.
    """
    folder, name = os.path.split(path)
    opened = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return not os.path.samestat(status, os.stat(name, dir_fd=opened, follow_symlinks=False))
    finally:
        os.close(opened)


def _is_readable(path: str, status: os.stat_result) -> bool:
    # The mode of most files tells it, without another request to a file system that may be slow.
    if status.st_mode & (stat.S_IRUSR if status.st_uid == os.geteuid() else stat.S_IROTH):
        return True
    return os.access(path, os.R_OK)
