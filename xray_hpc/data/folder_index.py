"""A folder of images: ``root/{train,test[,val]}/<CLASS>/*``, as Kaggle lays it out."""

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

# Keras's own list, and TIFF and DICOM, in which radiographs of more than 8 bits come.
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", *dicom.SUFFIXES)
FOLDERS: dict[str, SplitName] = {"train": "train", "val": "validation", "test": "test"}
MACOS = "__MACOSX"
SYSTEM = {"thumbs.db", "desktop.ini"}


def read_tree(
    given: Path,
) -> tuple[Path, tuple[str, ...], list[IndexEntry], dict[str, IgnoredFiles]]:
    """List the images under ``given``, or under the one folder in it that holds the tree.

    Images in folders inside a class folder belong to the class, as in Keras. Links to folders
    inside a class folder are not followed.

    Returns:
        the tree's root; the classes, sorted; the images, by split, class, and path; the files
        passed over, by reason.

    Raises:
        UserError: no such tree, or one whose classes do not do (see ``check_classes``).
    """
    try:
        root = _find_root(given)
        return _read(root, given)
    except OSError as error:
        raise StorageError(f"cannot read {error.filename}: {error.strerror}; mend it") from error


def _find_root(given: Path) -> Path:
    if _is_tree(given):
        return given
    inside = [Path(item.path) for item in _entries(given) if item.is_dir() and not junk(item.name)]
    trees = [folder for folder in inside if _is_tree(folder)]
    if len(trees) > 1:
        names = ", ".join(repr(folder.name) for folder in trees)
        raise DataError(f"{given} holds several trees ({names}); name one of them in data.root")
    if trees:
        return trees[0]
    found = [folder.name for folder in inside]
    for missing in ("train", "test"):
        if missing not in found:
            hint = nearest(missing, found)
            raise DataError(
                f"{given} has no folder {missing!r}{hint}; data.root must hold train/ and test/ "
                "with a folder for each class in them"
            )
    raise AssertionError("a folder with train and test is a tree")


def _is_tree(folder: Path) -> bool:
    return (folder / "train").is_dir() and (folder / "test").is_dir()


def _read(
    root: Path, given: Path
) -> tuple[Path, tuple[str, ...], list[IndexEntry], dict[str, IgnoredFiles]]:
    ignored: defaultdict[str, IgnoredFiles] = defaultdict(IgnoredFiles)
    found: list[tuple[SplitName, str, os.DirEntry[str], str]] = []
    images: dict[str, Counter[str]] = {origin: Counter() for origin in SPLIT_NAMES}
    if root != given:
        _ignore_all(given, ignored, {root.name}, given)
    _ignore_all(root, ignored, set(FOLDERS), given)
    for folder, origin in FOLDERS.items():
        if not (root / folder).is_dir():
            continue
        for item in _entries(root / folder):
            name = f"{folder}/{item.name}"
            if not item.is_dir() or junk(item.name):
                reason = junk(item.name) or "outside the class folders"
                ignored[reason].add(name, _files(item))
                continue
            images[origin][item.name] += 0
            for image, inner in _images(item.path, "", name, ignored):
                images[origin][item.name] += 1
                found.append((origin, item.name, image, inner))
    classes = check_classes(images, str(root))
    names = {origin: folder for folder, origin in FOLDERS.items()}
    listed = []
    for origin, label, image, inner in found:
        folder = f"{names[origin]}/{label}"
        path = f"{folder}/{inner}"
        check_utf8(path)
        stat = image.stat()
        patient = patient_from_filename(image.name, os.path.dirname(path))
        entry = IndexEntry(
            path, classes.index(label), patient, origin, stat.st_size, stat.st_mtime_ns
        )
        listed.append(entry)
    listed.sort(
        key=lambda entry: (SPLIT_NAMES.index(entry.split), entry.label, order_within_class(entry))
    )
    return root, classes, listed, dict(sorted(ignored.items()))


def order_within_class(entry: IndexEntry) -> tuple[str, str]:
    """Folder and name inside the class folder: the order in which Keras lists a class."""
    inner = entry.path.split("/", 2)[2]
    folder, _, name = inner.rpartition("/")
    return folder, name


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as items:
        return sorted(items, key=lambda item: item.name)


def junk(name: str) -> str | None:
    """Why a file or folder of this name is passed over; None if it is not."""
    if name == MACOS or name.startswith("._") or name == ".DS_Store":
        return "macOS metadata"
    if name.startswith(".") or name.lower() in SYSTEM:
        return "hidden or system files"
    return None


def _images(
    folder: str, inside: str, shown: str, ignored: defaultdict[str, IgnoredFiles]
) -> Iterator[tuple[os.DirEntry[str], str]]:
    """The images in a class folder, each with its path inside the class folder."""
    for item in _entries(folder):
        name = f"{shown}/{item.name}"
        if reason := junk(item.name):
            ignored[reason].add(name, _files(item))
        elif item.is_dir(follow_symlinks=False):
            yield from _images(item.path, f"{inside}{item.name}/", name, ignored)
        elif not item.name.lower().endswith(SUFFIXES):
            ignored["no image suffix"].add(name)
        elif not item.is_file():
            ignored["broken links and special files"].add(name)
        else:
            yield item, f"{inside}{item.name}"


def _ignore_all(
    folder: Path, ignored: defaultdict[str, IgnoredFiles], keep: set[str], given: Path
) -> None:
    """Count all the files in ``folder`` but those in the subfolders ``keep``."""
    for item in _entries(folder):
        if item.name in keep and item.is_dir():
            continue
        reason = junk(item.name) or "outside train, val and test"
        if item.is_dir() and not junk(item.name) and _is_tree(Path(item.path)):
            reason = "nested copy of the tree"
        if files := _files(item):
            ignored[reason].add(Path(item.path).relative_to(given).as_posix(), files)


def _files(item: os.DirEntry[str]) -> int:
    if not item.is_dir(follow_symlinks=False):
        return 1
    return sum(len(files) for _, _, files in os.walk(item.path))
