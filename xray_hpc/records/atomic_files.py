"""Files that appear whole or not at all, and a lock between processes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xray_hpc.errors import DataError, LockedError, StorageError

if TYPE_CHECKING:
    import pandas as pd


# A file system that is full, read-only, gone, not for this user, or that does not answer.
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


def is_storage_failure(folder: Path, error: OSError) -> bool:
    """Whether ``error`` says that ``folder`` cannot be read or written, or is gone."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return not folder.is_dir()
    return error.errno in STORAGE_ERRORS


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; move it there when the block ends well.

    The file is synced before it is moved and its folder after it, so that a crash leaves the old
    file or the new one, never a part, and the new one once the block has been left. When the block
    raises, the temporary file is removed. The temporary name ends in the whole name (Keras and
    matplotlib choose the format by its end).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}.{path.name}")
    temporary.open("xb").close()  # with the rights of any new file here, as tempfile's have not
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def is_temporary_file(path: Path) -> bool:
    """Whether it is what :func:`atomic_write` leaves of a process that is killed meanwhile."""
    return re.fullmatch(r"\.[0-9a-f]{16}\..+", path.name) is not None


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that has nothing to sync there
            raise
    finally:
        os.close(opened)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` in one step, in UTF-8 with LF line ends."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` as indented JSON; NaN and infinity are refused with a ``ValueError``."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write ``frame`` without its index; floats keep every digit."""
    with atomic_write(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; ``UserError`` names the file when it holds none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not JSON ({error}); remove it and run again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} holds no JSON object; remove it and run again")
    return value


@contextmanager
def file_lock(path: Path, *, wait: bool = True, message: str | None = None) -> Iterator[int]:
    """Hold an exclusive ``flock`` on ``path`` (made if absent) while the block runs.

    The lock goes with the process, however that ends; a child that is given the file descriptor
    that is yielded holds it too. ``message`` is printed once when another
    process holds it and this one waits; with ``wait=False`` ``LockedError`` is raised instead.
    A file system without locks raises ``UserError``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise LockedError(str(path)) from None
            if message:
                print(message, file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            raise StorageError(
                f"the file system of {path} has no locks ({error.strerror}); put the results on "
                "another, or have it mounted with flock"
            ) from error
        yield handle.fileno()
