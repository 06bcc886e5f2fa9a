"""The state of a file as its run left it, to notice later that it has changed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from pathlib import Path

from xray_hpc.regular_file import open_regular

MISSING = "is missing"
BLOCK_BYTES = 1 << 20
STATE = re.compile(r"(\d{1,19}) (-?\d{1,19}) ([0-9a-f]{64})")


def file_state(path: Path | str) -> str:
    """Return size in bytes, time of change in nanoseconds since 1970 and SHA-256 of a file.

    One text, because ``status`` reads twenty of them for each of thousands of runs.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
    """
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        digest = hashlib.sha256()
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return f"{status.st_size} {status.st_mtime_ns} {digest.hexdigest()}"


def find_change(path: str, state: str | None, *, whole: bool) -> str | None:
    """Return how a file differs from its recorded :func:`file_state`; ``None`` if it does not.

    The file is read only if its time differs, as after a copy, or if the ``whole`` content is to be
    compared. Then its time is set to what the comparison has shown, where this user may: to the
    recorded time, or to another one. Later calls need not read the file to know the same.

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
    same_time = status.st_mtime_ns == int(time)
    if same_time and not whole:
        return None
    same = file_state(path).endswith(checksum)
    if whole and same != same_time:
        with contextlib.suppress(OSError):
            if same:
                os.utime(path, ns=(status.st_atime_ns, int(time)))
            else:
                os.utime(path)
    return None if same else "does not match its checksum"


def _is_readable(path: str, status: os.stat_result) -> bool:
    # The mode of most files tells it, without another request to a file system that may be slow.
    if status.st_mode & (stat.S_IRUSR if status.st_uid == os.geteuid() else stat.S_IROTH):
        return True
    return os.access(path, os.R_OK)
