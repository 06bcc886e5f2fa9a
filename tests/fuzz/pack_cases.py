"""Load a data set whose store of decoded images is damaged, or made by another user."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import h5py
import numpy as np

from tests.fuzz.damage import DAMAGES
from tests.fuzz.data_set_cases import SIDE, write_data_set
from tests.fuzz.forked_command import NOBODY, Outcome, run_function
from tests.fuzz.verdict import Verdict
from xray_hpc import command_line
from xray_hpc.config.run_config import DataConfig
from xray_hpc.data.array_store import CHECKSUMS
from xray_hpc.data.dataset import load_dataset

STRANGER = NOBODY - 1
CACHE = "cache"
KINDS = ("store", "lock", "partial", "folder")


@dataclass(frozen=True)
class PackCase:
    """A damage of the store, of its lock, of a part of it that a killed process left, or of all.

    Attributes:
        group: The row of the table.
        name: What is done.
        change: Changes the path.
        kind: Which path of the cache: one of ``KINDS``.
        stranger: Whether the cache belongs to another user than the one who loads it.
    """

    group: str
    name: str
    change: Callable[[Path, Random], None]
    kind: str = "store"
    stranger: bool = False


def pack_cases() -> list[PackCase]:
    """Return all cases; those of other users for root only."""
    cases = [*_damaged(), *_edited()]
    return [case for case in cases if os.geteuid() == 0 or not case.stranger]


def _damaged() -> Iterator[PackCase]:
    for kind in KINDS:
        for damage in DAMAGES:
            fits = "/" in damage.suffixes if kind == "folder" else damage.fits(Path("x.h5"))
            if fits and not damage.owner:
                for stranger in (False, True):
                    yield PackCase("damaged", f"{kind} {damage.name}", damage.apply, kind, stranger)


def _edited() -> Iterator[PackCase]:
    def reverse(values: np.ndarray) -> np.ndarray:
        return values[::-1].copy()

    def fill(value: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda values: np.full_like(values, value if values.dtype.kind in "iu" else b"x")

    def last(value: int) -> Callable[[np.ndarray], np.ndarray]:
        def change(values: np.ndarray) -> np.ndarray:
            if len(values) and values.dtype.kind in "iu":
                values[-1] = np.array(value).astype(values.dtype)
            return values

        return change

    changes = {
        "reversed": reverse,
        "all 0": fill(0),
        "all 1": fill(1),
        "last -1": last(-1),
        "last 10^9": last(10**9),
        "last -10^9": last(-(10**9)),
        "first repeated": lambda values: np.repeat(values[:1], len(values), axis=0),
        "flat": lambda values: values.reshape(-1),
        "half": lambda values: values[: len(values) // 2],
        "as float": lambda values: values.astype("f8") if values.dtype.kind in "iu" else values,
    }
    for array in ("images", "digests", "largest", "positions", "reasons", "crc32", "written"):
        for name, change in changes.items():
            for stranger in (False, True):
                edit = functools.partial(_edit, array, change)
                yield PackCase("right checksums", f"{array} {name}", edit, stranger=stranger)


def _edit(
    array: str, change: Callable[[np.ndarray], np.ndarray], path: Path, random: Random
) -> None:
    """Change an array of the store, and correct its checksum; each has one block here."""
    with h5py.File(path, "r+") as file:
        if array not in file:
            return
        values = change(file[array][:])
        if values.shape == file[array].shape and values.dtype == file[array].dtype:
            file[array][...] = values
        else:
            del file[array]
            file[array] = values
        if CHECKSUMS in file and array not in (CHECKSUMS, "written"):
            number = list(json.loads(file.attrs["arrays"])).index(array)
            if number < len(file[CHECKSUMS]):
                data = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
                file[CHECKSUMS][number] = zlib.crc32(data)


class PackFuzzer:
    """Runs the cases in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_data_set(folder / "images")
        first = self._load(None)
        self.expected = first.text
        if first.code != 0:
            raise RuntimeError(f"the data set cannot be loaded: {first.error}")
        (self.store,) = (path.name for path in (folder / CACHE).glob("*.h5"))
        (folder / CACHE).rename(folder / "good")

    def run(self, case: PackCase, random: Random, verdict: Verdict) -> None:
        """Load the data set with the cache: the same images, or a line on its path."""
        uid = NOBODY if case.stranger else None
        cache = self.folder / CACHE
        self._clear()
        shutil.copytree(self.folder / "good", cache)
        cache.chmod(0o777)
        path = {
            "store": cache / self.store,
            "lock": cache / f".{self.store}.lock",
            "partial": cache / f".{self.store}.partial",
            "folder": cache,
        }[case.kind]
        if case.kind == "partial":
            (cache / self.store).rename(path)
        case.change(path, random)
        if case.stranger and cache.exists():
            for one in (cache, *cache.rglob("*")):
                os.chown(one, STRANGER, STRANGER, follow_symlinks=False)
        # A damaged file is made again. A folder or a FIFO in its place is for the user to remove.
        odd = os.path.lexists(path) and not (path.is_dir() if path == cache else path.is_file())
        trusted = case.group == "right checksums" and not case.stranger
        for _ in range(2):  # the second finds what the first has made
            outcome = verdict.add(self._load(uid))
            if outcome.code == 0 and outcome.text != self.expected and not trusted:
                verdict.wrong("other images were loaded")
            if outcome.code != 0 and not (odd and path.name in outcome.error):
                verdict.wrong(f"the store is not made again: {outcome.error[-200:]!r}")

    def _clear(self) -> None:
        cache = self.folder / CACHE
        if cache.is_symlink() or cache.is_file() or cache.is_fifo():
            cache.unlink()
        shutil.rmtree(cache, ignore_errors=True)

    def _load(self, uid: int | None) -> Outcome:
        config = DataConfig(source="folder", root=str(self.folder / "images"), image_size=SIDE)

        def show() -> None:
            data = load_dataset(config, self.folder / CACHE)
            digest = hashlib.sha256(np.ascontiguousarray(data.images).tobytes())
            digest.update(repr([data.labels.tolist(), data.files, data.patients]).encode())
            parts = {name: part.tolist() for name, part in data.splits.items()}
            print(digest.hexdigest(), json.dumps(parts), data.contents)

        return run_function(
            lambda: command_line.run(show), ["load_dataset"], folder=self.folder, uid=uid
        )
