"""Image files named on the command line: files, folders, and lists of both."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from xray_hpc.data.folder_index import (
    MAX_DEPTH,
    NO_SUFFIX,
    SEARCHED,
    SUFFIXES,
    FolderQueue,
    Ignored,
    ignore_reason,
    is_folder,
    missing_part,
)
from xray_hpc.data.index_entry import IgnoredFiles, ignored_line
from xray_hpc.errors import DataError


class ImageFile(NamedTuple):
    """An image file to read, or the reason why it cannot be read."""

    path: str
    error: str | None = None


def find_image_files(
    named: Sequence[str], listed: Iterable[str] = ()
) -> tuple[list[ImageFile], Ignored]:
    """Expand ``named`` into image files, in order.

    A file is taken whatever its name. A folder is searched recursively, in the order of names, for
    files with an image suffix (``SUFFIXES``); hidden files and macOS metadata are ignored. Links
    are followed, each folder once. ``-`` stands for the paths ``listed``. An unreadable path is an
    :class:`ImageFile` with an error.

    Returns:
        The files, and those ignored in folders, by reason.

    Raises:
        DataError: There are no images.
    """
    found: list[ImageFile] = []
    ignored: Ignored = defaultdict(IgnoredFiles)
    for path in chain.from_iterable(listed if name == "-" else [name] for name in named):
        found += _expand(path, ignored)
    if not found:
        hint = f"; ignored {ignored_line(ignored)}" if ignored else ""
        where = ", ".join("standard input" if name == "-" else name for name in named)
        raise DataError(f"no images in {where}{hint}")
    return found, ignored


def read_list(content: bytes) -> list[str]:
    """Parse a list of paths, separated by newlines or, as by ``find -print0``, by NUL bytes."""
    if b"\0" in content:
        lines = content.split(b"\0")
    else:
        lines = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    return [os.fsdecode(line) for line in lines if line]


def _expand(path: str, ignored: Ignored) -> Iterator[ImageFile]:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        yield ImageFile(path, "a broken link" if os.path.islink(path) else missing_part(Path(path)))
        return
    except OSError as error:
        yield ImageFile(path, _reason(error))
        return
    if stat.S_ISDIR(mode):
        yield from sorted(_inside(path, ignored), key=lambda file: file.path.split("/"))
    elif stat.S_ISREG(mode):
        yield ImageFile(path)
    else:
        yield ImageFile(path, "neither a file nor a folder")


def _inside(top: str, ignored: Ignored) -> Iterator[ImageFile]:
    """Yield the images in a folder, in no order."""
    queue = FolderQueue(top)
    for folder in queue:
        if folder.removeprefix(top).count("/") > MAX_DEPTH:
            yield ImageFile(folder, f"more than {MAX_DEPTH} folders deep")
            continue
        try:
            with os.scandir(folder) as items:
                entries = sorted(items, key=lambda item: item.name)
        except OSError as error:
            yield ImageFile(folder, f"unreadable folder: {_reason(error)}")
            continue
        for item in entries:
            if ignore_reason(item.name):
                continue
            if is_folder(item):
                queue.add(item)
            elif item.name.lower().endswith(SUFFIXES):
                yield from _expand(item.path, ignored)
            else:
                ignored[NO_SUFFIX].add(item.path)
    for folder in queue.skipped:
        ignored[SEARCHED].add(folder)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
