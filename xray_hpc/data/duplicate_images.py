"""Notes on images and classes that appear twice: copies of a file, names that differ in case."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from xray_hpc.count_text import format_count


def copied_images(
    digests: Sequence[str],
    files: Sequence[str],
    classes: Sequence[str],
    splits: Mapping[str, npt.NDArray[np.int64]],
) -> list[str]:
    """Return notes on files of the same contents, however their paths are written.

    One is on copies in several classes, one on copies in several splits, and one on copies that
    only count twice.

    Args:
        digests: of the contents of N files.
        files: their N paths.
        classes: their N classes.
        splits: the rows of the files in each split.
    """
    found: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for name, rows in splits.items():
        for row in rows:
            found[digests[row]][int(row)] = name
    contradictory, shared, repeated = [], [], []
    for split_of in found.values():
        class_of = {row: classes[row] for row in split_of}
        if len(set(class_of.values())) > 1:
            contradictory.append(class_of)
        if len(set(split_of.values())) > 1:
            shared.append(split_of)
        elif len(split_of) > 1 and len(set(class_of.values())) == 1:
            repeated.append(split_of)
    kinds = (
        (contradictory, "the same contents in more than one class"),
        (shared, f"the same contents in more than one of {', '.join(splits)}"),
        (repeated, "copies in the same split and class"),
    )
    return [
        f"{format_count(len(groups), 'image')} with {what}, such as {_example(groups[0], files)}"
        for groups, what in kinds
        if groups
    ]


def _example(places: Mapping[int, str], files: Sequence[str]) -> str:
    """Name one file of each place, or two of the same."""
    first = {place: row for row, place in reversed([*places.items()])}
    rows = sorted(first.values()) if len(first) > 1 else list(places)[:2]
    return " and ".join(f"{files[row]!r} ({places[row]})" for row in rows)


def similar_classes(classes: Sequence[str]) -> list[str]:
    """Return a note if names of classes differ in case, blanks or the encoding of accents only."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in classes:
        groups["".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    return [
        f"the classes {' and '.join(map(repr, names))} differ in case or blanks only; give them "
        "one name if they are one class"
        for names in groups.values()
        if len(names) > 1
    ]
