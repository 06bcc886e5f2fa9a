"""Hostile data sets: CSV files and folder trees."""

from __future__ import annotations

import csv
import functools
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from tests.fuzz.damage import DAMAGES, Damage
from tests.fuzz.value_edits import ESCAPES

CLASSES = ("NORMAL", "PNEUMONIA")
SIDE = 32  # pixels; `cnn` needs 30
CELLS = (
    *("", " ", "=1+1", "@x", "-x", "+x", '"', "a,b", "a\nb", f"x{ESCAPES}", "\u202eabc", "x" * 300),
    *(
        "x" * 200_000,
        "../../../../etc/passwd",
        "/etc/passwd",
        "/dev/zero",
        ".",
        "/",
        "~",
        "\0",
        "é",
    ),
    *("train", "NORMAL", "1", "nan", "NULL", "%s%n", "{}", "${x}", "a/b/c", "p1", "\ufeff", "\r"),
)
NAMES = (*(cell for cell in CELLS if cell not in ("", ".", "/")), "._x", "CON", "Thumbs.db")


@dataclass(frozen=True)
class DataSetCase:
    """A hostile data set.

    Attributes:
        group: The row of the table.
        name: What it is.
        source: ``csv`` or ``folder``.
        change: Changes a good data set in a folder.
    """

    group: str
    name: str
    source: str
    change: Callable[[Path, Random], None]


def data_set_cases() -> list[DataSetCase]:
    """Return all cases."""
    return [*_csv_cells(), *_csv_files(), *_folder_names(), *_folder_damage()]


def write_data_set(folder: Path) -> None:
    """Write 32 images in a folder tree, and ``data.csv`` that lists them."""
    rows = [("path", "label", "split", "patient")]
    for split, count in (("train", 10), ("test", 6)):
        for label in CLASSES:
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                path = f"{split}/{label}/person{number}_{label[0]}.png"
                (folder / path).write_bytes(_png(f"{path}"))
                rows.append((path, label, split, f"p{number}{label[0]}{split[1]}"))
    with (folder / "data.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


@functools.cache
def _png(seed: str) -> bytes:
    pixels = np.frombuffer(Random(seed).randbytes(SIDE * SIDE), np.uint8).reshape(SIDE, SIDE)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _csv_cells() -> Iterator[DataSetCase]:
    for column in range(4):
        for cell in CELLS:
            for all_rows in (False, True):

                def change(
                    folder: Path,
                    random: Random,
                    column: int = column,
                    cell: str = cell,
                    every: bool = all_rows,
                ) -> None:
                    with (folder / "data.csv").open(newline="") as file:
                        rows = list(csv.reader(file))
                    for row in rows[1:] if every else [random.choice(rows)]:
                        row[column] = cell
                    with (folder / "data.csv").open("w", newline="") as file:
                        csv.writer(file, lineterminator="\n").writerows(rows)

                where = "all rows" if all_rows else "a row"
                name = f"{cell[:40]!r} in column {column} of {where}"
                yield DataSetCase("CSV file", name, "csv", change)


def _csv_files() -> Iterator[DataSetCase]:
    for damage in DAMAGES:
        if damage.fits(Path("data.csv")) and not damage.owner:

            def change(folder: Path, random: Random, damage: Damage = damage) -> None:
                damage.apply(folder / "data.csv", random)

            yield DataSetCase("CSV file", damage.name, "csv", change)


def _folder_names() -> Iterator[DataSetCase]:
    for kind in ("class", "image", "split", "other file"):
        for name in NAMES:

            def change(folder: Path, random: Random, kind: str = kind, name: str = name) -> None:
                name = name.replace("/", "_").replace("\0", "_")
                name = name.encode()[:255].decode(errors="ignore")
                image = next((folder / "train" / "NORMAL").iterdir())
                if kind == "class":
                    for split in ("train", "test"):
                        (folder / split / "NORMAL").rename(folder / split / name)
                elif kind == "image":
                    end = min(len(name), 200)
                    image.rename(
                        image.with_name(f"{name[:end]}.png".encode()[-255:].decode(errors="ignore"))
                    )
                elif kind == "split":
                    (folder / "test").rename(
                        folder / "renamed" if name == "train" else folder / name
                    )
                else:
                    (folder / "train" / "NORMAL" / name).write_bytes(b"x")

            yield DataSetCase("folders and images", f"{kind} {name[:40]!r}", "folder", change)
    for raw in (b"\xff\xfe", b"\xc3\x28.png"):

        def not_utf8(folder: Path, random: Random, raw: bytes = raw) -> None:
            (folder / "train" / "NORMAL" / f"{os.fsdecode(raw)}.png").write_bytes(_png("x"))

        yield DataSetCase("folders and images", f"{raw!r}", "folder", not_utf8)


def _folder_damage() -> Iterator[DataSetCase]:
    for target in ("train", "train/NORMAL", "test/PNEUMONIA", "train/NORMAL/person1_N.png"):
        for damage in DAMAGES:
            fits = damage.fits(Path(target)) if target.endswith(".png") else "/" in damage.suffixes
            if fits and not damage.owner:

                def change(
                    folder: Path, random: Random, damage: Damage = damage, target: str = target
                ) -> None:
                    damage.apply(folder / target, random)

                name = f"{target}: {damage.name}"
                yield DataSetCase("folders and images", name, "folder", change)

    def loop(folder: Path, random: Random) -> None:
        (folder / "train" / "NORMAL" / "again").symlink_to("..")

    def deep(folder: Path, random: Random) -> None:
        path = folder / "train" / "NORMAL"
        for _ in range(300):
            path /= "d"
            path.mkdir()

    def many(folder: Path, random: Random) -> None:
        for number in range(3000):
            (folder / "train" / "NORMAL" / f"x{number}.txt").touch()

    for add in (loop, deep, many):
        yield DataSetCase("folders and images", add.__name__, "folder", add)
