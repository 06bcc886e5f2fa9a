"""Which images there are, with their classes and patients, and what identifies the set."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xray_hpc.config.run_config import DataConfig
from xray_hpc.data.cache_folder import check_free_space, writing_to_cache
from xray_hpc.data.csv_index import read_table
from xray_hpc.data.folder_index import read_tree
from xray_hpc.data.index_entry import ClassCounts, IgnoredFiles, IndexEntry, count_by_class
from xray_hpc.errors import ConfigError, DataError, nearest
from xray_hpc.metrics import MACRO, MICRO
from xray_hpc.records.atomic_files import file_lock

STORE_VERSION = 3
DEMO_IMAGE_BYTES = 16 * 2**10


@dataclass(frozen=True)
class Index:
    """The images of one data set.

    ``fingerprint`` is the data's part of a run's identity: a SHA-256 over every image's relative
    path, size in bytes, class, patient and split. Moving or copying the set does not change it.
    The demo's is made of its version, number of images, seed and classes alone.
    """

    root: Path
    classes: tuple[str, ...]
    entries: tuple[IndexEntry, ...]
    fingerprint: str
    ignored: Mapping[str, IgnoredFiles] = field(default_factory=dict)

    def store_key(self, config: DataConfig) -> str:
        """Name the packed file: changes with the images, their times, and how they are packed."""
        times = [(entry.path, entry.mtime_ns) for entry in self.entries]
        how = (config.image_size, config.channels, config.clahe)
        return _hash([STORE_VERSION, self.fingerprint, how, times])


def build_index(config: DataConfig, cache: Path) -> Index:
    """List the images that ``config`` asks for; the demo's are drawn into ``cache`` if need be.

    Raises:
        UserError: the root is not there, or does not hold what it should; the line says what.
    """
    if config.source == "demo":
        folder = _demo(config, cache)
        root, classes, entries, ignored = read_tree(folder)
        return Index(root, classes, tuple(entries), _demo_fingerprint(config), ignored)
    given = Path(config.root or "").expanduser()
    _check_root(given, config.source)
    if config.source == "csv":
        root, (classes, entries), ignored = given.parent, read_table(given), {}
    else:
        root, classes, entries, ignored = read_tree(given)
    if taken := {MICRO, MACRO}.intersection(classes):
        raise DataError(
            f"data.root {str(given)!r} has a class {taken.pop()!r}: so a curve of all classes "
            "together is called in ROC tables; give the class another name"
        )
    return Index(root, classes, tuple(entries), _fingerprint(classes, entries), ignored)


@dataclass(frozen=True)
class Survey:
    """What a launch must know of a data set.

    ``fingerprint`` is the index's, ``classes`` the number of classes.
    """

    fingerprint: str
    classes: int
    images: ClassCounts


def survey(config: DataConfig, cache: Path) -> Survey:
    """Identify and count the images that ``config`` asks for; the demo's without drawing them.

    Raises:
        UserError: as :func:`scan`.
    """
    if config.source == "demo":
        from xray_hpc.synthetic import demo_dataset

        counts = demo_dataset.count_images(config.demo_images or 0, config.demo_classes or 2)
        classes = len(counts["train"])
        images: ClassCounts = {
            "train": counts["train"],
            "validation": (0,) * classes,
            "test": counts["test"],
        }
        return Survey(_demo_fingerprint(config), classes, images)
    index = build_index(config, cache)
    classes = len(index.classes)
    return Survey(index.fingerprint, classes, count_by_class(index.entries, classes))


def _fingerprint(classes: tuple[str, ...], entries: list[IndexEntry]) -> str:
    return _hash(sorted((e.path, e.size, classes[e.label], e.patient, e.split) for e in entries))


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=True).encode()).hexdigest()


def _check_root(given: Path, source: str) -> None:
    if not given.exists():
        there = next(parent for parent in given.absolute().parents if parent.is_dir())
        missing = given.absolute().relative_to(there).parts[0]
        hint = nearest(missing, os.listdir(there))
        raise ConfigError(
            f"data.root {str(given)!r} does not exist: no {missing!r} in {there}{hint}"
        )
    if source == "csv" and given.is_dir():
        raise ConfigError(f"data.root {str(given)!r} is a folder; data.source=csv needs a CSV file")
    if source == "folder" and not given.is_dir():
        raise ConfigError(
            f"data.root {str(given)!r} is not a folder; name the folder that holds train/ and "
            "test/ (a CSV file needs data.source=csv)"
        )


def _demo_fingerprint(config: DataConfig) -> str:
    from xray_hpc.synthetic import demo_dataset

    which = [demo_dataset.VERSION, config.demo_images, config.demo_seed]
    return _hash(["demo", *which, *([] if config.demo_classes == 2 else [config.demo_classes])])


def _demo(config: DataConfig, cache: Path) -> Path:
    """The folder of the demo's images, drawn by whoever comes first."""
    from xray_hpc.synthetic import demo_dataset

    assert config.demo_images is not None
    assert config.demo_seed is not None
    classes = config.demo_classes or 2
    name = f"demo-v{demo_dataset.VERSION}-{config.demo_images}-{config.demo_seed}"
    folder = cache / (name if classes == 2 else f"{name}-{classes}")
    if folder.is_dir():
        return folder
    message = "waiting for another process to draw the demo images"
    lock = cache / f".{folder.name}.lock"
    needed = config.demo_images * DEMO_IMAGE_BYTES
    with writing_to_cache(cache, "the demo images", needed), file_lock(lock, message=message):
        if folder.is_dir():
            return folder
        check_free_space(cache, "the demo images", needed)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=cache) as temporary:
            images = Path(temporary, "images")
            images.mkdir()
            demo_dataset.generate(images, config.demo_images, config.demo_seed, classes)
            images.rename(folder)
    return folder
