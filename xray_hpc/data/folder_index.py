"""Index of an image folder in Kaggle's layout: ``root/{train,test[,val]}/<CLASS>/*``."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from xray_hpc.data import dicom
from xray_hpc.data.index_entry import (
    SPLIT_NAMES,
    IgnoredFiles,
    IndexEntry,
    SplitName,
    check_classes,
    check_utf8,
    patient_from_filename,
)
from xray_hpc.errors import DataError, StorageError, nearest

# Keras's list, plus TIFF and DICOM, which store X-rays of more than 8 bits.
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", *dicom.SUFFIXES)
FOLDERS: dict[str, SplitName] = {"train": "train", "val": "validation", "test": "test"}
MACOS = "__MACOSX"
SYSTEM = {"thumbs.db", "desktop.ini"}

FolderIndex = tuple[Path, tuple[str, ...], list[IndexEntry], dict[str, IgnoredFiles]]
Ignored = defaultdict[str, IgnoredFiles]


def read_folder_index(given: Path) -> FolderIndex:
    """List the images under ``given``, or under the only folder in it that has train and test.

    As in Keras, images in subfolders of a class folder belong to the class. Links to folders
    inside a class folder are not followed.

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
    items = [item for item in _entries(given) if item.is_dir() and not ignore_reason(item.name)]
    inside = [Path(item.path) for item in items]
    data_sets = [folder for folder in inside if _is_data_set(folder)]
    if len(data_sets) > 1:
        names = ", ".join(repr(folder.name) for folder in data_sets)
        raise DataError(f"{given} contains several data sets ({names}); set data.root to one")
    if data_sets:
        return data_sets[0]
    found = [folder.name for folder in inside]
    missing = "test" if "train" in found else "train"
    raise DataError(
        f"{given} has no folder {missing!r}{nearest(missing, found)}; data.root must contain "
        "train/ and test/ with a folder per class"
    )


def _is_data_set(folder: Path) -> bool:
    return (folder / "train").is_dir() and (folder / "test").is_dir()


def _read(root: Path, given: Path) -> FolderIndex:
    ignored: Ignored = defaultdict(IgnoredFiles)
    found: list[tuple[SplitName, str, os.DirEntry[str], str]] = []
    images: dict[str, Counter[str]] = {origin: Counter() for origin in SPLIT_NAMES}
    if root != given:
        _ignore_all(given, ignored, {root.name}, given)
    _ignore_all(root, ignored, set(FOLDERS), given)
    for folder, origin in FOLDERS.items():
        for item in _entries(root / folder) if (root / folder).is_dir() else ():
            name, reason = f"{folder}/{item.name}", ignore_reason(item.name)
            if reason or not item.is_dir():
                ignored[reason or "outside the class folders"].add(name, _files(item))
                continue
            inside = list(_images(item.path, name, ignored))
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


def _images(folder: str, path: str, ignored: Ignored) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Yield the images in a class folder with their paths in the index."""
    for item in _entries(folder):
        name = f"{path}/{item.name}"
        if reason := ignore_reason(item.name):
            ignored[reason].add(name, _files(item))
        elif item.is_dir(follow_symlinks=False):
            yield from _images(item.path, name, ignored)
        elif not item.name.lower().endswith(SUFFIXES):
            ignored["no image suffix"].add(name)
        elif not item.is_file():
            ignored["broken links and special files"].add(name)
        else:
            yield item, name


def _ignore_all(folder: Path, ignored: Ignored, keep: set[str], given: Path) -> None:
    """Count the files in ``folder`` as ignored, except those in the subfolders ``keep``."""
    for item in _entries(folder):
        if item.name in keep and item.is_dir():
            continue
        copy = item.is_dir() and _is_data_set(Path(item.path))
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
    parent = next(parent for parent in whole.parents if parent.is_dir())
    part = whole.relative_to(parent).parts[0]
    names = os.listdir(parent) if os.access(parent, os.R_OK) else []
    return f"no {part!r} in {parent}{nearest(part, names)}"
