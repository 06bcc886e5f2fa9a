"""Writing into the cache folder, and what to say when that fails."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xray_hpc.errors import StorageError


@contextmanager
def writing(cache: Path, what: str, needed: int) -> Iterator[None]:
    """Make the folder ``cache``, and word what goes wrong while ``what`` is written into it.

    ``needed`` is the space in bytes that it takes.

    Raises:
        UserError: the disk or the quota is full, or the file system failed.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(_no_space(cache, what, needed)) from error
        if error.errno is None:
            raise
        name = error.filename or cache
        raise StorageError(f"cannot write {what}: {name}: {error.strerror}") from error


def check_space(cache: Path, what: str, needed: int) -> None:
    """Raise ``UserError`` before the work if the disk has no room for its result."""
    free = shutil.disk_usage(cache).free
    if free < needed:
        raise StorageError(f"{_no_space(cache, what, needed)} ({size(free)} are free)")


def size(count: int) -> str:
    """A number of bytes, for people."""
    return f"{count / 2**20:,.0f} MiB" if count >= 2**20 else f"{count / 2**10:,.0f} KiB"


def _no_space(cache: Path, what: str, needed: int) -> str:
    return (
        f"no space left in {cache} for {what}, which need {size(needed)}; make room, or put the "
        "cache elsewhere"
    )
