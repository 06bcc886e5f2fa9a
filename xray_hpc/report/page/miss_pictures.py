"""Read the pictures of a run's worst misses, which its training drew."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.records.paths import RunPaths
from xray_hpc.regular_file import read_regular

MOST_BYTES = 1 << 20  # of a picture or the table; a picture has 50 KiB
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class MissPicture:
    """A misclassified image beside its Grad-CAM.

    Attributes:
        split: ``validation`` or ``test``.
        file: the image.
        patient: its patient; empty if unknown.
        true: the true class.
        predicted: the predicted class, whose evidence the heatmap shows.
        png: the picture, base64.
    """

    split: str
    file: str
    patient: str
    true: str
    predicted: str
    png: str


def read_miss_pictures(
    paths: RunPaths, model: str, classes: tuple[str, ...], most: int
) -> list[MissPicture]:
    """Return at most ``most`` pictures of each split, the worst miss first.

    None is returned of a run that was trained without explanations, and pictures that cannot be
    read are left out.
    """
    try:
        text = read_regular(paths.worst_misses(model), MOST_BYTES).decode()
        rows = list(csv.DictReader(io.StringIO(text)))
    except (OSError, ValueError, csv.Error):
        return []
    chosen = [row for row in rows if str(row.get("rank")) in map(str, range(1, most + 1))]
    return list(_pictures(paths.folder, chosen, classes))


def _pictures(
    folder: Path, rows: list[dict[str, str]], classes: tuple[str, ...]
) -> Iterator[MissPicture]:
    for row in rows:
        try:
            png = _read_png(folder, row["image"])
            true, predicted = (classes[int(row[name])] for name in ("y_true", "predicted"))
            fields = row["split"], row["file"], row["patient"]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        yield MissPicture(*fields, true, predicted, png)


def _read_png(folder: Path, name: str) -> str:
    """Return a picture of the run as base64; its table may name no other file."""
    if not re.fullmatch(r"figures/worst_misses/\w+\.png", name, re.ASCII):
        raise ValueError(name)
    content = read_regular(folder / name, MOST_BYTES)
    if not content.startswith(PNG):
        raise ValueError(name)
    return base64.b64encode(content).decode()
