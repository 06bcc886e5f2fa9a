"""What the index holds: one entry an image, and the files that were passed over."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from xray_hpc.errors import DataError, nearest
from xray_hpc.text import format_count

SplitName = Literal["train", "validation", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "validation", "test")
EXAMPLES = 3

_PERSON = re.compile(r"person(\d+)_(bacteria|covid|virus)_\d", re.IGNORECASE)
_IM = re.compile(r"((?:normal\d*-)?im)-(\d+)-\d", re.IGNORECASE)
_DISEASE = re.compile(r"(normal|bacteria|virus)-(\d+)-\d", re.IGNORECASE)


@dataclass(frozen=True)
class IndexEntry:
    """One image. ``path`` is relative to the index's root, with ``/`` between its parts.

    ``split`` is where the image came from: its folder, or its row's split column. ``size`` is in
    bytes, ``mtime_ns`` the time of the file's last change.
    """

    path: str
    label: int
    patient: str
    split: SplitName
    size: int
    mtime_ns: int


@dataclass
class IgnoredFiles:
    """Files passed over for one reason: how many, and the first few names."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, name: str, count: int = 1) -> None:
        """Count ``count`` more files, found at ``name``."""
        self.count += count
        if len(self.examples) < EXAMPLES:
            self.examples.append(name)


ClassCounts = Mapping[SplitName, Sequence[int]]
"""Images of each class, in the order of the classes, by where they come from."""


def count_by_class(entries: Sequence[IndexEntry], classes: int) -> ClassCounts:
    """Count the images by origin and class: ``{"train": (90, 60), "validation": ...}``."""
    found = Counter((entry.split, entry.label) for entry in entries)
    return {
        origin: tuple(found[origin, label] for label in range(classes)) for origin in SPLIT_NAMES
    }


def check_utf8(path: str) -> None:
    """Refuse a name that is not UTF-8: the records could not hold it."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{path!a} has a name that is not UTF-8; rename the file") from None


def check_classes(images: Mapping[str, Counter[str]], where: str) -> tuple[str, ...]:
    """The classes, sorted; ``images`` counts them by split (``train``, ``test``) and class.

    Raises:
        UserError: train and test differ in their classes, a class has no images, or there are
            fewer than two.
    """
    train, test = images["train"], images["test"]
    for here, there, names, others in (
        ("train", "test", train, test),
        ("test", "train", test, train),
        ("validation", "train", images["validation"], train),
    ):
        for name in sorted(names.keys() - others.keys()):
            hint = nearest(name, others.keys() - names.keys())
            raise DataError(f"{where}: class {name!r} is in {here} but not in {there}{hint}")
    classes = tuple(sorted(train))
    if len(classes) < 2:
        found = ", ".join(repr(name) for name in classes) or "none"
        raise DataError(
            f"{where}: found {format_count(len(classes), 'class', 'classes')} ({found}); "
            "it takes two or more to tell apart"
        )
    for split, counts in (("train", train), ("test", test)):
        for name in classes:
            if not counts[name]:
                raise DataError(f"{where}: class {name!r} has no images in {split}; add some")
    return classes


def patient_from_filename(filename: str, folder: str) -> str:
    """Name the patient of the image ``filename``.

    A name of no known form makes a patient of its own, ``folder/filename``; ``folder`` is where
    the file lies (it may be empty), and keeps equal names in two folders apart.
    """
    if match := _PERSON.match(filename):
        return f"person{match[1]}_{match[2].lower()}"
    if match := _IM.match(filename) or _DISEASE.match(filename):
        return f"{match[1].upper()}-{match[2]}"
    return f"{folder}/{filename}" if folder else filename
