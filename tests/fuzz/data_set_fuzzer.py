"""Stage and launch on hostile data sets, and compare the index with the images."""

from __future__ import annotations

import csv
import os
import posixpath
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from random import Random

from tests.fuzz.data_set_cases import SIDE, DataSetCase, write_data_set
from tests.fuzz.forked_command import run_command
from tests.fuzz.verdict import Verdict
from xray_hpc.data.folder_index import ignore_reason
from xray_hpc.data.index_entry import SPLITS
from xray_hpc.formula_cells import unquote_formulas

Listed = Mapping[str, tuple[str, str]]


class DataSetFuzzer:
    """Runs the cases in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_data_set(folder / "good")
        self.good = {path.read_bytes() for path in (folder / "good").rglob("*.png")}
        for source in ("csv", "folder"):
            verdict = Verdict("", "")
            case = DataSetCase("", "", source, lambda folder, random: None)
            self.run(case, Random(0), verdict)
            if verdict.problems or any(outcome.code != 0 for outcome in verdict.outputs):
                raise RuntimeError(f"the undamaged data set has problems: {verdict.outputs}")

    def run(self, case: DataSetCase, random: Random, verdict: Verdict) -> None:
        """Show what a launch would do, and stage the images; check the index that it writes."""
        shutil.rmtree(self.folder, ignore_errors=True)
        images = self.folder / "images"
        write_data_set(images)
        case.change(images, random)
        root = "images/data.csv" if case.source == "csv" else "images"
        words = (f"data={case.source}", f"data.root={root}", f"data.image_size={SIDE}")
        where = ("results=results", "cluster=none", "train.batch_size=4", "model=cnn")
        dry = verdict.add(run_command("launch", *words, *where, "dry_run=true", folder=self.folder))
        staged = verdict.add(
            run_command("stage", *words, *where, folder=self.folder, patch=_without_figures)
        )
        if dry.code == 2 and staged.code == 0:
            verdict.wrong("launch refuses what stage accepts")
        written = list(self.folder.glob("results/*/data/*/index.csv"))
        if len(written) != (staged.code == 0):
            verdict.wrong(f"stage exits with {staged.code} and wrote {len(written)} indices")
        elif written:
            listed = _csv_images(images) if case.source == "csv" else _folder_images(images)
            self._check_index(verdict, written[0], images, listed)

    def _check_index(self, verdict: Verdict, file: Path, root: Path, listed: Listed) -> None:
        """Check that the index has each good image, with its class and split, and no other file."""
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        classes = sorted({name for name, _ in listed.values()})
        found: dict[str, str] = {}
        for row in rows:
            if formulas := [cell for cell in row.values() if cell[:1] in tuple("=+-@\t\r")]:
                verdict.wrong(f"the index has a formula: {formulas[0][:40]!r}")
            path, name = unquote_formulas([row["file"], row["class"]])
            split = "train" if row["split"] == "validation" else row["split"]
            found[path] = name
            if (name, split) != listed.get(path) or row["label"] != str(classes.index(name)):
                verdict.wrong(f"the index has {row}; the data has {listed.get(path)}"[:400])
        train, validation = (
            {row["patient"] for row in rows if row["split"] == split}
            for split in ("train", "validation")
        )
        if both := train & validation:
            verdict.wrong(f"patients are in training and validation: {sorted(both)[:3]}")
        if len(found) != len(rows):
            verdict.wrong("the index has an image twice")
        absent = [path for path in found if not (root / path).is_file()]
        lost = [path for path in listed if path not in found and self._is_good(root / path)]
        if absent or lost:
            verdict.wrong(f"the index has {absent[:3]}, which do not exist, or lacks {lost[:3]}")

    def _is_good(self, path: Path) -> bool:
        """Return whether a file is one of the images that were written."""
        try:
            found = path.stat()
        except (OSError, ValueError):
            return False
        small = stat.S_ISREG(found.st_mode) and found.st_size < 1e6
        return small and path.read_bytes() in self.good


def _csv_images(root: Path) -> Listed:
    """Return the class and the split of each row; ``train`` for a validation image, too."""
    with (root / "data.csv").open(newline="", encoding="utf-8-sig") as lines:
        return {
            posixpath.normpath(row["path"]): (row["label"].strip(), _split(row["split"].strip()))
            for row in csv.DictReader(lines)
        }


def _folder_images(root: Path) -> Listed:
    """Return the class and the split of each image by its folders, unless its name hides it."""
    paths = [Path(at, name).relative_to(root) for at, _, files in os.walk(root) for name in files]
    return {
        path.as_posix(): (path.parts[1], _split(path.parts[0]))
        for path in paths
        if len(path.parts) > 2 and path.suffix == ".png" and not any(map(ignore_reason, path.parts))
    }


def _split(name: str) -> str:
    split = SPLITS[name.lower()]
    return "train" if split == "validation" else split


def _without_figures() -> None:
    from xray_hpc.config import hydra_app
    from xray_hpc.data import dataset_figures, stage_data

    hydra_app.group_values = lambda *_: {}  # the augmentations to draw; takes half a second
    dataset_figures.write_figures = lambda *_: []
    stage_data.write_figure = lambda *_, **__: None  # type: ignore[attr-defined]
