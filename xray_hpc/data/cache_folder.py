"""Writing into the cache folder, and what to say when that fails."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xray_hpc.errors import StorageError
from xray_hpc.text import format_bytes


@contextmanager
def writing_to_cache(cache: Path, what: str, needed: int) -> Iterator[None]:
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


def check_free_space(cache: Path, what: str, needed: int) -> None:
    """Raise ``UserError`` before the work if the disk has no room for its result."""
    free = shutil.disk_usage(cache).free
    if free < needed:
        raise StorageError(f"{_no_space(cache, what, needed)} ({format_bytes(free)} are free)")


def _no_space(cache: Path, what: str, needed: int) -> str:
    return (
        f"no space left in {cache} for {what}, which need {format_bytes(needed)}; make room, or "
        "put the cache elsewhere"
    )
