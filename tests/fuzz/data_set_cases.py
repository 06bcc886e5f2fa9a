"""Stage and launch on hostile data sets: CSV files and folder trees."""

from __future__ import annotations

import csv
import functools
import io
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from tests.fuzz.damage import DAMAGES, ESCAPES
from tests.fuzz.forked_command import run_command
from tests.fuzz.verdict import Verdict

CLASSES = ("NORMAL", "PNEUMONIA")
SIDE = 16
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
                    folder: Path, random: Random, column=column, cell=cell, all_rows=all_rows
                ) -> None:
                    with (folder / "data.csv").open(newline="") as file:
                        rows = list(csv.reader(file))
                    for row in rows[1:] if all_rows else [random.choice(rows)]:
                        row[column] = cell
                    with (folder / "data.csv").open("w", newline="") as file:
                        csv.writer(file, lineterminator="\n").writerows(rows)

                where = "all rows" if all_rows else "a row"
                name = f"{cell[:40]!r} in column {column} of {where}"
                yield DataSetCase("cells of a CSV file", name, "csv", change)


def _csv_files() -> Iterator[DataSetCase]:
    for damage in DAMAGES:
        if damage.fits(Path("data.csv")) and not damage.owner:

            def change(folder: Path, random: Random, damage=damage) -> None:
                damage.apply(folder / "data.csv", random)

            yield DataSetCase("CSV file", damage.name, "csv", change)


def _folder_names() -> Iterator[DataSetCase]:
    for kind in ("class", "image", "split", "other file"):
        for name in NAMES:

            def change(folder: Path, random: Random, kind=kind, name=name) -> None:
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

            yield DataSetCase("names in folders", f"{kind} {name[:40]!r}", "folder", change)
    for raw in (b"\xff\xfe", b"\xc3\x28.png"):

        def not_utf8(folder: Path, random: Random, raw=raw) -> None:
            (folder / "train" / "NORMAL" / f"{os.fsdecode(raw)}.png").write_bytes(_png("x"))

        yield DataSetCase("names in folders", f"{raw!r}", "folder", not_utf8)


def _folder_damage() -> Iterator[DataSetCase]:
    for target in ("train", "train/NORMAL", "test/PNEUMONIA", "train/NORMAL/person1_N.png"):
        for damage in DAMAGES:
            fits = damage.fits(Path(target)) if target.endswith(".png") else "/" in damage.suffixes
            if fits and not damage.owner:

                def change(folder: Path, random: Random, damage=damage, target=target) -> None:
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

    for change in (loop, deep, many):
        yield DataSetCase("folders and images", change.__name__, "folder", change)


class DataSetFuzzer:
    """Runs the cases in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, case: DataSetCase, random: Random, verdict: Verdict) -> None:
        """Show what a launch would do, and stage the images; compare the two."""
        shutil.rmtree(self.folder, ignore_errors=True)
        write_data_set(self.folder / "images")
        case.change(self.folder / "images", random)
        root = "images/data.csv" if case.source == "csv" else "images"
        words = (f"data={case.source}", f"data.root={root}", f"data.image_size={SIDE}")
        where = ("results=results", "cluster=none", "train.batch_size=4", "model=cnn")
        dry = verdict.add(run_command("launch", *words, *where, "dry_run=true", folder=self.folder))
        staged = verdict.add(
            run_command("stage", *words, *where, folder=self.folder, patch=_without_figures)
        )
        if dry.code == 2 and staged.code == 0:
            verdict.wrong("launch refuses what stage accepts")
        for file in self.folder.glob("results/*/data/*/index.csv"):
            _check_index(verdict, file, self.folder / "images")
        if staged.code == 0 and not list(self.folder.glob("results/*/data/*/index.csv")):
            verdict.wrong("stage wrote no index")


def _check_index(verdict: Verdict, file: Path, root: Path) -> None:
    """Check that the index lists images that exist, with the classes of the data set."""
    with file.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
        rows = list(csv.DictReader(lines))
    if len(rows) < 8:
        verdict.wrong(f"the index has {len(rows)} rows")
    for row in rows:
        for name, cell in row.items():
            if cell and cell[0] in "=+-@\t\r":
                verdict.wrong(f"the index has a formula in {name}: {cell[:40]!r}")
                return


def _without_figures() -> None:
    from xray_hpc.data import dataset_figures, stage_data

    dataset_figures.write_figures = lambda *_: None  # type: ignore[assignment]
    stage_data.write_figure = lambda *_, **__: None  # type: ignore[assignment]
