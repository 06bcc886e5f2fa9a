"""Image files named on the command line: files, folders, and lists of both."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from xray_hpc.count_text import format_count
from xray_hpc.data.folder_index import (
    MAX_DEPTH,
    SUFFIXES,
    enter,
    ignore_reason,
    is_folder,
    missing_part,
)
from xray_hpc.data.index_entry import IgnoredFiles
from xray_hpc.errors import DataError


class ImageFile(NamedTuple):
    """An image file to read, or the reason why it cannot be read."""

    path: str
    error: str | None = None


def find_image_files(
    named: Sequence[str], listed: Iterable[str] = ()
) -> tuple[list[ImageFile], IgnoredFiles]:
    """Expand ``named`` into image files, in order.

    A file is taken whatever its name. A folder is searched recursively, in the order of names, for
    files with an image suffix (``SUFFIXES``); hidden files, macOS metadata and links to a folder
    that contains them or is linked already are ignored. ``-`` stands for the paths ``listed``. An
    unreadable path is an :class:`ImageFile` with an error.

    Returns:
        The files, and those ignored in folders.

    Raises:
        DataError: There are no images.
    """
    found: list[ImageFile] = []
    ignored = IgnoredFiles()
    for path in chain.from_iterable(listed if name == "-" else [name] for name in named):
        found += _expand(path, ignored)
    if not found:
        where = ", ".join("standard input" if name == "-" else name for name in named)
        raise DataError(f"no images in {where}{describe_ignored(ignored, '; ')}")
    return found, ignored


def read_list(content: bytes) -> list[str]:
    """Parse a list of paths, separated by newlines or, as by ``find -print0``, by NUL bytes."""
    if b"\0" in content:
        lines = content.split(b"\0")
    else:
        lines = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    return [os.fsdecode(line) for line in lines if line]


def describe_ignored(ignored: IgnoredFiles, prefix: str = "") -> str:
    """Format as ``"ignored 3 files without an image suffix, such as ..."``; empty if none."""
    if not ignored.count:
        return ""
    files = format_count(ignored.count, "file")
    return f"{prefix}ignored {files} without an image suffix, such as {ignored.examples[0]}"


def _expand(path: str, ignored: IgnoredFiles) -> Iterator[ImageFile]:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        yield ImageFile(path, "a broken link" if os.path.islink(path) else missing_part(Path(path)))
        return
    except OSError as error:
        yield ImageFile(path, _reason(error))
        return
    if stat.S_ISDIR(mode):
        yield from _inside(path, ignored, {os.path.realpath(path)})
    elif stat.S_ISREG(mode):
        yield ImageFile(path)
    else:
        yield ImageFile(path, "neither a file nor a folder")


def _inside(
    folder: str, ignored: IgnoredFiles, seen: set[str], depth: int = 0
) -> Iterator[ImageFile]:
    """Search a folder; ``seen`` are the real paths of it and of all folders before it."""
    if depth > MAX_DEPTH:
        yield ImageFile(folder, f"more than {MAX_DEPTH} folders deep")
        return
    try:
        with os.scandir(folder) as items:
            entries = sorted(items, key=lambda item: item.name)
    except OSError as error:
        yield ImageFile(folder, f"unreadable folder: {_reason(error)}")
        return
    for item in entries:
        if ignore_reason(item.name):
            continue
        if is_folder(item):
            if enter(item, seen):
                yield from _inside(item.path, ignored, seen, depth + 1)
        elif item.name.lower().endswith(SUFFIXES):
            yield from _expand(item.path, ignored)
        else:
            ignored.add(item.path)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
