"""The image files that a user names: files, folders, and lists of both."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from xray_hpc.data.folder_index import SUFFIXES, junk
from xray_hpc.data.index_entry import IgnoredFiles
from xray_hpc.errors import DataError, nearest


class ImageFile(NamedTuple):
    """One file to read; ``error`` says why it cannot be, where that is known already."""

    path: str
    error: str | None = None


def find_image_files(
    named: Sequence[str], listed: Iterable[str] = ()
) -> tuple[list[ImageFile], IgnoredFiles]:
    """The files that ``named`` stands for, in this order, and those passed over in folders.

    A file is taken whatever its name. A folder stands for the files in it and in its folders, in
    the order of their names, that end as an image's do (``tree.SUFFIXES``); hidden files, the
    junk that macOS leaves and links to folders are left out. ``-`` stands for the paths ``listed``
    (what ends a line is not part of them). What cannot be read is a mistake if it was ``named``,
    and a file with an error if it was ``listed`` or is inside a folder.

    Raises:
        UserError: something named is not there or cannot be read, or no file is found at all.
    """
    found: list[ImageFile] = []
    ignored = IgnoredFiles()
    for name in named:
        if name == "-":
            for line in listed:
                found += _expand(line, ignored)
            continue
        here = list(_expand(name, ignored))
        if here and here[0].path == name and here[0].error:
            raise DataError(f"{name}: {here[0].error}")
        found += here
    if not found:
        where = ", ".join("standard input" if name == "-" else name for name in named)
        raise DataError(f"there are no images in {where}{describe_ignored(ignored, '; ')}")
    return found, ignored


def read_list(content: bytes) -> list[str]:
    """The paths in ``content``, one a line, or with NUL behind each as ``find -print0`` has it."""
    if b"\0" in content:
        lines = content.split(b"\0")
    else:
        lines = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    return [os.fsdecode(line) for line in lines if line]


def describe_ignored(ignored: IgnoredFiles, prefix: str = "") -> str:
    """``"3 files passed over, whose names ..."``; empty if there are none."""
    if not ignored.count:
        return ""
    files = "1 file" if ignored.count == 1 else f"{ignored.count:,} files"
    return f"{prefix}passed over {files} without an image's suffix, such as {ignored.examples[0]}"


def missing(path: str) -> str:
    """Say from where on a ``path`` that does not exist does not, and what there is named alike."""
    whole = Path(os.path.abspath(path))
    there = next(parent for parent in whole.parents if os.path.isdir(parent))
    part = whole.relative_to(there).parts[0]
    names = os.listdir(there) if os.access(there, os.R_OK) else []
    return f"no such file or folder: no {part!r} in {there}{nearest(part, names)}"


def _expand(path: str, ignored: IgnoredFiles) -> Iterator[ImageFile]:
    """The files that one path stands for."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        yield ImageFile(path, "a link to nothing" if os.path.islink(path) else missing(path))
        return
    except OSError as error:
        yield ImageFile(path, _reason(error))
        return
    if stat.S_ISDIR(mode):
        yield from _inside(path, ignored)
    elif stat.S_ISREG(mode):
        yield ImageFile(path)
    else:
        yield ImageFile(path, "neither a file nor a folder")


def _inside(folder: str, ignored: IgnoredFiles) -> Iterator[ImageFile]:
    try:
        with os.scandir(folder) as items:
            entries = sorted(items, key=lambda item: item.name)
    except OSError as error:
        yield ImageFile(folder, f"unreadable folder: {_reason(error)}")
        return
    for item in entries:
        if junk(item.name) or (item.is_symlink() and item.is_dir()):
            continue
        if item.is_dir():
            yield from _inside(item.path, ignored)
        elif item.name.lower().endswith(SUFFIXES):
            yield from _expand(item.path, ignored)
        else:
            ignored.add(item.path)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
