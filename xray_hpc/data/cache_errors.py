"""Lock a cache folder, and report one that is full or fails or is denied."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from xray_hpc.count_text import format_bytes
from xray_hpc.data.private_cache import CacheDeniedError
from xray_hpc.errors import LockedError, StorageError
from xray_hpc.file_owner import is_trusted_folder, owner_name
from xray_hpc.records.file_lock import NOT_WRITABLE, file_lock
from xray_hpc.shared_folder import make_folder
from xray_hpc.system_errors import advice


@contextmanager
def writing_to_cache(cache: Path, what: str, needed: int) -> Iterator[None]:
    """Create the folder ``cache``, and turn an ``OSError`` of the block into a message.

    What this user may not write raises ``CacheDeniedError``.

    Args:
        what: a plural noun phrase for the content, such as ``"the decoded images"``.
        needed: its size in bytes.
    """
    try:
        make_folder(cache)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(_no_space(cache, what, needed)) from error
        if error.errno is None:
            raise
        problem = f"cannot write {what}: {error.filename or cache}: {error.strerror}"
        if error.errno in NOT_WRITABLE:
            existing = next(path for path in (cache, *cache.parents) if os.path.exists(path))
            raise CacheDeniedError(f"{problem} (its owner is {owner_name(existing)})") from error
        raise StorageError(f"{problem}; {advice(error)}, or put the cache elsewhere") from error


@contextmanager
def cache_lock(path: Path, *, wait: bool = True, message: str | None = None) -> Iterator[None]:
    """Hold a lock in a cache folder, as ``file_lock`` does; wait only for what can be trusted.

    Anybody who may write to the folder, or read the lock, may hold it for ever.

    Raises:
        CacheDeniedError: another process holds the lock, and this user would not trust its result.
        LockedError: another process holds the lock, and ``wait`` is false.
    """
    trusted = is_trusted_folder(path.parent)
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(path, wait=wait and trusted, message=message))
        except LockedError as error:
            if trusted:
                raise
            owner = owner_name(path.parent)
            raise CacheDeniedError(
                f"another process has locked {path}, in {owner}'s folder, which your group does "
                "not share"
            ) from error
        yield


def check_free_space(cache: Path, what: str, needed: int) -> None:
    """Raise ``StorageError`` if the disk has less than ``needed`` bytes free."""
    free = shutil.disk_usage(cache).free
    if free < needed:
        raise StorageError(f"{_no_space(cache, what, needed)} ({format_bytes(free)} are free)")


def _no_space(cache: Path, what: str, needed: int) -> str:
    return (
        f"no space left in {cache} for {what}, which need {format_bytes(needed)}; make room, or "
        "put the cache elsewhere"
    )
