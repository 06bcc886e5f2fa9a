"""Index of an image folder in Kaggle's layout: ``root/{train,test[,val]}/<CLASS>/*``.

The folders of the splits have the names of ``index_entry.SPLITS``.
"""

from __future__ import annotations

import errno
import os
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from xray_hpc.data.index_entry import (
    SPLIT_NAMES,
    SPLITS,
    IgnoredFiles,
    IndexEntry,
    SplitName,
    check_classes,
    check_utf8,
    patient_from_filename,
)
from xray_hpc.errors import DataError, StorageError, nearest

# Keras's list, plus TIFF and DICOM, which store X-rays of more than 8 bits.
DICOM_SUFFIXES = (".dcm", ".dicom")
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", *DICOM_SUFFIXES)
MACOS = "__MACOSX"
SYSTEM = {"thumbs.db", "desktop.ini", "@eadir"}  # the last holds thumbnails of a Synology disk
SEARCHED = "links to folders that are searched anyway"
NO_SUFFIX = "no image suffix"
MAX_DEPTH = 100  # of folders in a class

FolderIndex = tuple[Path, tuple[str, ...], list[IndexEntry], dict[str, IgnoredFiles]]
Ignored = defaultdict[str, IgnoredFiles]


def read_folder_index(given: Path) -> FolderIndex:
    """List the images under ``given``, or under the only folder in it that has train and test.

    As in Keras, images in subfolders of a class folder belong to the class. Links to folders are
    followed, each folder once in a class.

    Returns:
        The root; the sorted classes; the images ordered by split, class and path; the ignored
        files by reason.
    """
    try:
        return _read(_find_root(given), given)
    except OSError as error:
        raise StorageError(f"cannot read {error.filename}: {error.strerror}") from error


def _find_root(given: Path) -> Path:
    if _is_data_set(given):
        return given
    items = [item for item in _entries(given) if is_folder(item) and not ignore_reason(item.name)]
    inside = [Path(item.path) for item in items]
    data_sets = [folder for folder in inside if _is_data_set(folder)]
    if len(data_sets) > 1:
        names = ", ".join(repr(folder.name) for folder in data_sets)
        raise DataError(f"{given} contains several data sets ({names}); set data.root to one")
    if data_sets:
        return data_sets[0]
    found = [folder.name for folder in inside]
    missing = "test" if "train" in _split_folders(given).values() else "train"
    raise DataError(
        f"{given} has no folder {missing!r}{nearest(missing, found)}; data.root must contain "
        "train/ and test/ with a folder per class"
    )


def _is_data_set(folder: Path) -> bool:
    return {"train", "test"} <= set(_split_folders(folder).values())


def _split_folders(root: Path) -> dict[str, SplitName]:
    """Return the folders in ``root`` that are named after a split; ``{}`` if it is unreadable."""
    try:
        names = [item.name for item in _entries(root) if is_folder(item)]
    except OSError:
        return {}
    return {name: SPLITS[name.lower()] for name in names if name.lower() in SPLITS}


def _read(root: Path, given: Path) -> FolderIndex:
    ignored: Ignored = defaultdict(IgnoredFiles)
    found: list[tuple[SplitName, str, os.DirEntry[str], str]] = []
    images: dict[str, Counter[str]] = {origin: Counter() for origin in SPLIT_NAMES}
    if root != given:
        _ignore_all(given, ignored, {root.name}, given)
    folders = _split_folders(root)
    _check_distinct(root, folders)
    _ignore_all(root, ignored, set(folders), given)
    for folder, origin in folders.items():
        for item in _entries(root / folder):
            name, reason = f"{folder}/{item.name}", ignore_reason(item.name)
            if reason or not is_folder(item):
                ignored[reason or "outside the class folders"].add(name, _files(item))
                continue
            seen = {os.path.realpath(path) for path in (given, root, root / folder)}
            inside = list(_images(item.path, name, ignored, seen))
            images[origin][item.name] = len(inside)
            found += [(origin, item.name, image, path) for image, path in inside]
    classes = check_classes(images, str(root))
    entries = []
    for origin, name, image, path in found:
        check_utf8(path)
        stat, label = image.stat(), classes.index(name)
        patient = patient_from_filename(image.name, os.path.dirname(path))
        entries.append(IndexEntry(path, label, patient, origin, stat.st_size, stat.st_mtime_ns))
    entries.sort(key=lambda e: (SPLIT_NAMES.index(e.split), e.label, order_within_class(e)))
    return root, classes, entries, dict(sorted(ignored.items()))


def _check_distinct(root: Path, folders: Mapping[str, SplitName]) -> None:
    for split in SPLIT_NAMES:
        same = [repr(name) for name, origin in folders.items() if origin == split]
        if len(same) > 1:
            raise DataError(f"{root}: {' and '.join(same)} both hold {split} images; keep one")


def order_within_class(entry: IndexEntry) -> tuple[str, str]:
    """Return folder and name inside the class folder: Keras sorts the files of a class by these."""
    return os.path.split(entry.path.split("/", 2)[2])


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as items:
        return sorted(items, key=lambda item: item.name)


def ignore_reason(name: str) -> str | None:
    """Return why a file or folder of this name is ignored, or ``None`` if it is not."""
    if name == MACOS or name.startswith("._") or name == ".DS_Store":
        return "macOS metadata"
    if name.startswith(".") or name.lower() in SYSTEM:
        return "hidden or system files"
    return None


def is_folder(item: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one."""
    try:
        return item.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself
            return False
        raise


def _images(
    top: str, path: str, ignored: Ignored, seen: set[str]
) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Yield the images in the class folder ``top`` with their paths in the index.

    ``seen`` are the real paths of the folders that contain it.
    """
    queue = FolderQueue(top, seen)
    for folder in queue:
        inside = path + folder.removeprefix(top)
        if inside.count("/") > MAX_DEPTH:
            raise DataError(f"{folder} is more than {MAX_DEPTH} folders deep; move its images up")
        for item in _entries(folder):
            name = f"{inside}/{item.name}"
            if reason := ignore_reason(item.name):
                ignored[reason].add(name, _files(item))
            elif is_folder(item):
                queue.add(item)
            elif not (item.is_file(follow_symlinks=False) or os.path.isfile(item.path)):
                ignored["broken links and special files"].add(name)
            elif not item.name.lower().endswith(SUFFIXES):
                ignored[NO_SUFFIX].add(name)
            else:
                yield item, name
    for folder in queue.skipped:
        ignored[SEARCHED].add(path + folder.removeprefix(top))


class FolderQueue:
    """Folders to search, each once: those behind links after all others, whatever their names.

    Otherwise 30 folders with two links each to the next could be walked in a billion ways.

    Args:
        top: the first.
        seen: real paths of folders to skip.

    Attributes:
        skipped: the folders that were met again.
    """

    def __init__(self, top: str, seen: Iterable[str] = ()) -> None:
        self._folders, self._links = deque([top]), deque[str]()
        self._seen = set(seen)
        self.skipped: list[str] = []

    def add(self, folder: os.DirEntry[str]) -> None:
        (self._links if folder.is_symlink() else self._folders).append(folder.path)

    def __iter__(self) -> Iterator[str]:
        while self._folders or self._links:
            folder = (self._folders or self._links).popleft()
            real = os.path.realpath(folder)
            if real in self._seen:
                self.skipped.append(folder)
            else:
                self._seen.add(real)
                yield folder


def _ignore_all(folder: Path, ignored: Ignored, keep: set[str], given: Path) -> None:
    """Count the files in ``folder`` as ignored, except those in the subfolders ``keep``."""
    for item in _entries(folder):
        if item.name in keep and is_folder(item):
            continue
        copy = is_folder(item) and _is_data_set(Path(item.path))
        other = "nested copy of the data set" if copy else "outside train, val and test"
        reason = ignore_reason(item.name) or other
        if files := _files(item):
            ignored[reason].add(Path(item.path).relative_to(given).as_posix(), files)


def _files(item: os.DirEntry[str]) -> int:
    if not item.is_dir(follow_symlinks=False):
        return 1
    return sum(len(files) for _, _, files in os.walk(item.path))


def missing_part(path: Path) -> str:
    """Describe the first part of ``path`` that does not exist, and a similar name there."""
    whole = Path(os.path.abspath(path))
    parent = next(parent for parent in whole.parents if os.path.isdir(parent))
    part = whole.relative_to(parent).parts[0]
    if os.path.islink(parent / part):
        return f"{part!r} in {parent} is a broken link"
    names = os.listdir(parent) if os.access(parent, os.R_OK) else []
    return f"no {part!r} in {parent}{nearest(part, names)}"
