"""Entries of the data index: path, class, patient and split of each image.

Kermany's chest X-rays (and Kaggle's copy) number their patients in the file names:
``person1_bacteria_2.jpeg`` is of patient ``person1_bacteria``, ``IM-0187-0001-0002.jpeg`` of
``IM-0187``, and ``NORMAL2-IM-1427-0001.jpeg`` of ``NORMAL2-IM-1427``.

The demo's Covid patients follow the same scheme, ``person3_covid_5.jpeg``. A number is unique only
within its series: ``person1_virus`` and ``person1_bacteria`` are two patients, and so are
``IM-0115`` and ``NORMAL2-IM-0115``. Read this way, the published train and test sets share no
patient; read as one series, the normal ones would share 94 numbers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from xray_hpc.count_text import format_count
from xray_hpc.errors import DataError, nearest

SplitName = Literal["train", "validation", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "validation", "test")
# The names of a split's folder, or in the split column of a CSV file, in any case.
SPLITS: dict[str, SplitName] = {
    **{"train": "train", "training": "train", "test": "test", "testing": "test"},
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
}
EXAMPLES = 3
MAX_CLASS_BYTES = 200  # part of the names of figures, of which file systems allow 255

_PERSON = re.compile(r"person(\d+)_(bacteria|covid|virus)_\d", re.IGNORECASE)
_IM = re.compile(r"((?:normal\d*-)?im)-(\d+)-\d", re.IGNORECASE)
_DISEASE = re.compile(r"(normal|bacteria|virus)-(\d+)-\d", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One image.

    Attributes:
        path: relative to the root of the index, with ``/`` as separator.
        label: position of its class in the index.
        patient: name of the patient.
        split: where the image came from: its folder, or the split column of its row.
        size: file size in bytes.
        mtime_ns: modification time of the file.
    """

    path: str
    label: int
    patient: str
    split: SplitName
    size: int
    mtime_ns: int


@dataclass
class IgnoredFiles:
    """Files that were ignored for one reason: their number and the first few names."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, name: str, count: int = 1) -> None:
        self.count += count
        if len(self.examples) < EXAMPLES:
            self.examples.append(name)


def describe_skipped(skipped: Sequence[tuple[str, str]]) -> str:
    """Format as ``"3 unreadable images ('a.png', 'b.png': empty file; 'c.png': truncated)"``.

    Args:
        skipped: (path, reason) of each.
    """
    by_reason: dict[str, IgnoredFiles] = {}
    for path, reason in skipped:
        by_reason.setdefault(reason, IgnoredFiles()).add(repr(path))
    parts = [
        f"{', '.join(files.examples)}{', ...' * (files.count > EXAMPLES)}: {reason}"
        for reason, files in by_reason.items()
    ]
    more = "; ..." * (len(parts) > EXAMPLES)
    return f"{format_count(len(skipped), 'unreadable image')} ({'; '.join(parts[:EXAMPLES])}{more})"


def ignored_line(ignored: Mapping[str, IgnoredFiles]) -> str:
    """Format as ``"3 files: 2 macOS metadata ('.DS_Store', ...), 1 no image suffix (...)"``."""
    if not ignored:
        return "none"
    parts = []
    for reason, files in ignored.items():
        names = ", ".join(map(repr, files.examples))
        more = ", ..." if files.count > len(files.examples) else ""
        parts.append(f"{files.count:,} {reason} ({names}{more})")
    total = sum(files.count for files in ignored.values())
    return f"{format_count(total, 'file')}: {', '.join(parts)}"


ClassCounts = Mapping[SplitName, Sequence[int]]
"""Number of images of each class, in the order of the classes, by split."""


def count_by_class(entries: Sequence[IndexEntry], classes: int) -> ClassCounts:
    """Return the number of images by split and class: ``{"train": (90, 60), ...}``."""
    found = Counter((entry.split, entry.label) for entry in entries)
    return {split: tuple(found[split, k] for k in range(classes)) for split in SPLIT_NAMES}


def check_utf8(path: str) -> None:
    """Raise ``DataError`` for a path that is not UTF-8, which JSON and CSV files cannot store."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{path!a} has a name that is not UTF-8; rename the file") from None


def check_classes(images: Mapping[str, Counter[str]], where: str) -> tuple[str, ...]:
    """Return the sorted classes of ``images``, which counts images by split and class.

    There must be two or more, the same in train and test, each with images in both.
    """
    for name in sorted(set().union(*images.values())):
        if (size := len(name.encode(errors="replace"))) > MAX_CLASS_BYTES:
            raise DataError(
                f"{where}: the name of class {name[:20] + '...'!r} has {size:,} bytes; "
                f"shorten it to {MAX_CLASS_BYTES}"
            )
    for here, there in (("train", "test"), ("test", "train"), ("validation", "train")):
        names, others = images[here].keys(), images[there].keys()
        for name in sorted(names - others):
            hint = nearest(name, others - names)
            raise DataError(f"{where}: class {name!r} is in {here} but not in {there}{hint}")
    classes = tuple(sorted(images["train"]))
    if len(classes) < 2:
        found = ", ".join(map(repr, classes)) or "none"
        raise DataError(
            f"{where}: found {format_count(len(classes), 'class', 'classes')} ({found}); "
            "at least two are needed"
        )
    for split in ("train", "test"):
        for name in classes:
            if not images[split][name]:
                raise DataError(f"{where}: class {name!r} has no images in {split}; add some")
    return classes


def patient_from_filename(filename: str, folder: str) -> str:
    """Return the name of the patient whose image is ``filename``.

    A file name of another form counts as a patient of its own, ``folder/filename``.
    """
    if match := _PERSON.match(filename):
        return f"person{match[1]}_{match[2].lower()}"
    if match := _IM.match(filename) or _DISEASE.match(filename):
        return f"{match[1].upper()}-{match[2]}"
    return f"{folder}/{filename}" if folder else filename
