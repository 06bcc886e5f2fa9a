"""The user's own cache, for what a shared cache denies.

A cache may be read-only, or hold files or locks of a user who is not trusted (see ``file_owner``).
Finished files that can be trusted are used, and all others are made in a cache of this user.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from xray_hpc.errors import StorageError
from xray_hpc.file_owner import is_trusted, uid_name

T = TypeVar("T")

logger = logging.getLogger(__name__)


class CacheDeniedError(StorageError):
    """This user may not write to the cache, or must not trust a file in it."""


def private_cache() -> Path | None:
    """Return the folder of the user's own cache, which need not exist; ``None`` without a home."""
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(home, "xray_hpc")


def check_trust(path: Path, status: os.stat_result | None = None) -> None:
    """Raise ``CacheDeniedError`` if a file is not trusted; arguments as in ``is_trusted``."""
    status = status or path.stat()
    if is_trusted(path, status):
        return
    if status.st_mode & stat.S_IWOTH:
        raise CacheDeniedError(f"everybody may write to {path}")
    owner = uid_name(status.st_uid)
    raise CacheDeniedError(f"{path} is {owner}'s, in a folder that your group does not share")


def with_private_cache(load: Callable[[Path], T], cache: Path) -> T:
    """Call ``load`` with the folder of the cache, or of the user's own cache if that is denied.

    Raises:
        CacheDeniedError: there is no cache that this user may write.
    """
    try:
        return load(cache)
    except CacheDeniedError as error:
        denied = error
    try:
        return load(cache)  # what the process that held the lock has finished meanwhile
    except CacheDeniedError:
        pass
    private = private_cache()
    if private is not None and private != cache:
        _note(f"{denied}; using {private} instead")
        with contextlib.suppress(OSError):  # which are reported by ``load``
            private.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(CacheDeniedError):
            return load(private)
    advice = "ask its owner to share the folder with your group, or set cache=FOLDER to your own"
    raise CacheDeniedError(f"{denied}; {advice}") from None


@functools.cache
def _note(message: str) -> None:
    """Log a message once."""
    logger.warning(message)
