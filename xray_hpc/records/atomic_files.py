"""Write files atomically."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from xray_hpc.errors import RecordError, StorageError
from xray_hpc.formula_cells import UnixLines, quote_formula
from xray_hpc.regular_file import read_regular
from xray_hpc.shared_folder import create_file, open_new
from xray_hpc.system_errors import STORAGE_ERRORS, advice

if TYPE_CHECKING:
    import pandas as pd


# Records have a few KiB; that of a run grows by half a KiB with each attempt. Larger is the
# collector's index, 300 bytes for each run.
JSON_LIMIT = 1 << 26
LONG_DIGITS = 20  # of an integer that no field can mean: the times in nanoseconds have 19
_ZEROS = bytes.maketrans(b"123456789", b"000000000")


def is_gone(folder: Path) -> bool:
    """Return whether there is no folder at this path, as after it was renamed or removed."""
    try:
        return not stat.S_ISDIR(os.stat(folder).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def is_storage_failure(folder: Path, error: OSError) -> bool:
    """Return whether ``error`` means that ``folder`` cannot be read or written, or is gone."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return is_gone(folder)
    return error.errno in STORAGE_ERRORS


def is_error_in(folder: Path, error: OSError) -> bool:
    """Return whether ``error`` is about a file in ``folder``, or about the folder itself."""
    name = error.filename
    named = isinstance(name, str | bytes | os.PathLike)  # not the number of an open file
    return named and Path(os.fsdecode(name)).is_relative_to(folder)


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Report in one line that a file in ``folder`` cannot be used.

    Raises:
        StorageError: the block failed to open, read or write it.
    """
    try:
        yield
    except OSError as error:
        if not is_error_in(folder, error):
            raise
        problem = f"{error.filename} cannot be used ({error.strerror})"
        raise StorageError(f"{problem}; {advice(error)}, and run the command again") from error


_checks: list[Callable[[], object]] = []


def check_before_writes(check: Callable[[], object]) -> None:
    """Call ``check`` before each write of this process from now on; it raises to prevent it."""
    _checks.append(check)


def check_write() -> None:
    """Raise if this process may not write, according to :func:`check_before_writes`."""
    for check in _checks:
        check()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``, and rename it to ``path`` after the block.

    The folder must exist: of a run whose folder was renamed or removed, none is made anew.
    The file is synced before the rename and its folder afterwards: a crash leaves the old or the
    new file, never a part of it, and after the block the new one. If the block raises, the
    temporary file is removed. The temporary name ends with the name of ``path``, because Keras and
    matplotlib choose the format by the suffix.
    """
    with _replacing(path) as temporary:
        create_file(temporary)  # with the permissions of its folder, unlike tempfile
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``, and rename it to ``path`` after the block."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.{path.name}")
    try:
        yield temporary
        check_write()
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        # A failed write does not name its file, and the temporary name says nothing to a user.
        if error.errno is None or error.filename not in (None, temporary, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def is_temporary_file(path: Path) -> bool:
    """Return whether ``path`` is a file that :func:`atomic_write` left when it was killed."""
    return re.fullmatch(r"\.[0-9a-f]{16}\..+", path.name) is not None


def remove_temporary_files(folder: Path, name: str = "") -> None:
    """Remove the temporary files of killed processes that wrote to ``folder``.

    Hold a lock: no other process may be writing there. ``name`` limits it to those of one file.
    """
    for path in folder.glob(f".*.{name}*"):
        if is_temporary_file(path):
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno != errno.EINVAL:  # this file system cannot sync a folder
            raise
    finally:
        os.close(opened)


def write_text(path: Path, text: str, deny: int = 0) -> None:
    """Write ``text`` to ``path`` as :func:`atomic_write` does, in UTF-8 with LF line endings.

    Nobody but the owner gets the permissions ``deny``, such as ``shared_folder.PRIVATE``.
    """
    content = text.encode()
    # Not by its name, to which another user of the folder could have given another file.
    with _replacing(path) as temporary, open_new(temporary, deny) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Mapping[str, Any], deny: int = 0) -> None:
    """Write ``value`` as indented JSON; raise ``ValueError`` for NaN and infinity."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n", deny)


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write ``frame`` without its index, floats with every digit, and no text as a formula."""
    safe = frame.rename(columns=quote_formula)
    for name in safe.columns[[kind.kind == "O" for kind in safe.dtypes]]:
        safe[name] = safe[name].map(quote_formula)
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        safe.to_csv(cast(TextIO, UnixLines(file)), index=False, lineterminator="\r\n")


def read_json(path: Path, most: int = JSON_LIMIT) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        OSError: the file cannot be read, is not a regular file, or is larger than ``most`` bytes.
        RecordError: it holds something else, an integer that is too large, or text that is not
            Unicode.
    """
    return parse_json(read_regular(path, most), path)


def parse_json(raw: bytes, path: Path) -> dict[str, Any]:
    """Return the JSON object in the contents of ``path``; raise as :func:`read_json`."""
    try:
        # Calling a function for each integer takes longer than the parser.
        is_long = b"0" * LONG_DIGITS in raw.translate(_ZEROS)
        parse_int = _parse_int if is_long else None
        value = json.loads(raw.decode(), parse_int=parse_int)
        if b"\\u" in raw:  # half a surrogate pair can be neither printed nor written
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise RecordError(path, " is not JSON (nested too deeply)") from None
    except ValueError as error:
        raise RecordError(path, f" is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise RecordError(path, " is not a JSON object")
    return value


def _parse_int(digits: str) -> int:
    if len(digits.lstrip("-")) >= LONG_DIGITS:
        raise ValueError(f"an integer has more than {LONG_DIGITS - 1} digits")
    return int(digits)
