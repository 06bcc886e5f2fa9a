"""Index of a data set: its images, classes and patients, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from xray_hpc.config.run_config import DataConfig
from xray_hpc.data.cache_errors import cache_lock, check_free_space, writing_to_cache
from xray_hpc.data.csv_index import read_csv_index
from xray_hpc.data.folder_index import missing_part, read_folder_index
from xray_hpc.data.index_entry import ClassCounts, IgnoredFiles, IndexEntry, count_by_class
from xray_hpc.data.private_cache import check_trust, with_private_cache
from xray_hpc.errors import ConfigError, DataError
from xray_hpc.metrics import MACRO, MICRO
from xray_hpc.shared_folder import share_folder

STORE_VERSION = 4
DEMO_IMAGE_BYTES = 16 * 2**10


@dataclass(frozen=True)
class Index:
    """The images of one data set.

    Attributes:
        root: the folder that the paths are relative to.
        classes: the sorted class names.
        entries: the images, ordered by split, class and path.
        fingerprint: the data's part of a run's identity, a SHA-256 of the relative path, size,
            class, patient and split of every image; the demo's of its parameters.
        ignored: the ignored files by reason.
    """

    root: Path
    classes: tuple[str, ...]
    entries: tuple[IndexEntry, ...]
    fingerprint: str
    ignored: Mapping[str, IgnoredFiles] = field(default_factory=dict)

    def store_key(self, config: DataConfig) -> str:
        """Return the key of the image store: a hash of images, times and format."""
        times = [(entry.path, entry.mtime_ns) for entry in self.entries]
        how = (config.image_size, config.channels, config.clahe, config.range)
        return _hash([STORE_VERSION, self.fingerprint, how, times])


def build_index(config: DataConfig, cache: Path) -> Index:
    """Index the images of ``config``; the demo's are drawn into ``cache`` the first time."""
    if config.source == "demo":
        folder = _demo(config, cache)
        root, classes, entries, ignored = read_folder_index(folder)
        if len(entries) != config.demo_images:
            raise DataError(
                f"{folder} holds {len(entries):,} of the {config.demo_images:,} demo images; "
                "remove it and run again"
            )
        return Index(root, classes, tuple(entries), _demo_fingerprint(config), ignored)
    given = Path(config.root or "").expanduser()
    _check_root(given, config.source)
    if config.source == "csv":
        root, (classes, entries), ignored = given.parent, read_csv_index(given), {}
    else:
        root, classes, entries, ignored = read_folder_index(given)
    if taken := {MICRO, MACRO}.intersection(classes):
        raise DataError(
            f"data.root {str(given)!r} has a class {taken.pop()!r}, a name that ROC tables use for "
            "averages; rename the class"
        )
    images = sorted((e.path, e.size, classes[e.label], e.patient, e.split) for e in entries)
    return Index(root, classes, tuple(entries), _hash(images), ignored)


@dataclass(frozen=True)
class Survey:
    """What a launch needs of a data set.

    Attributes:
        fingerprint: see ``Index``.
        classes: the number of classes.
        images: the number of images by split and class.
        entries: the images; none of the demo, which may not be drawn yet.
    """

    fingerprint: str
    classes: int
    images: ClassCounts
    entries: tuple[IndexEntry, ...] = ()


def survey(config: DataConfig, cache: Path) -> Survey:
    """Identify and count the images of ``config``; the demo's are not drawn."""
    if config.source == "demo":
        from xray_hpc.synthetic import demo_dataset

        counts = demo_dataset.count_images(config.demo_images or 0, config.demo_classes or 2)
        none = (0,) * len(counts["train"])
        images: ClassCounts = {"train": counts["train"], "validation": none, "test": counts["test"]}
        return Survey(_demo_fingerprint(config), len(none), images)
    index = build_index(config, cache)
    classes = len(index.classes)
    images = count_by_class(index.entries, classes)
    return Survey(index.fingerprint, classes, images, index.entries)


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=True).encode()).hexdigest()


def _check_root(given: Path, source: str) -> None:
    try:
        folder = stat.S_ISDIR(given.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        message = f"data.root {str(given)!r} does not exist: {missing_part(given)}"
        raise ConfigError(message) from None
    except OSError as error:
        raise ConfigError(f"data.root {str(given)!r}: {error.strerror}") from error
    if source == "csv" and folder:
        raise ConfigError(f"data.root {str(given)!r} is a folder; data=csv needs a CSV file")
    if source == "folder" and not folder:
        raise ConfigError(
            f"data.root {str(given)!r} is not a folder; it must contain train/ and test/ "
            "(a CSV file needs data=csv)"
        )


def _demo_fingerprint(config: DataConfig) -> str:
    from xray_hpc.synthetic import demo_dataset

    which = [demo_dataset.VERSION, config.demo_images, config.demo_seed]
    return _hash(["demo", *which, *([] if config.demo_classes == 2 else [config.demo_classes])])


def _demo(config: DataConfig, cache: Path) -> Path:
    """Return the folder of the demo images; the first process to need it draws them.

    It is in the user's own cache if ``cache`` is denied.
    """
    return with_private_cache(partial(_demo_in, config), cache)


def _demo_in(config: DataConfig, cache: Path) -> Path:
    from xray_hpc.synthetic import demo_dataset

    assert config.demo_images is not None
    assert config.demo_seed is not None
    classes = config.demo_classes or 2
    name = f"demo-v{demo_dataset.VERSION}-{config.demo_images}-{config.demo_seed}"
    folder = cache / (name if classes == 2 else f"{name}-{classes}")
    if folder.is_dir():
        return _trusted(folder)
    lock, needed = cache / f".{folder.name}.lock", config.demo_images * DEMO_IMAGE_BYTES
    message = "waiting for another process to draw the demo images"
    with writing_to_cache(cache, "the demo images", needed), cache_lock(lock, message=message):
        if folder.is_dir():
            return _trusted(folder)
        prefix = f".{folder.name}.drawing-"
        for left in cache.glob(f"{prefix}*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        check_free_space(cache, "the demo images", needed)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=cache) as temporary:
            share_folder(Path(temporary))
            images = Path(temporary, "images")
            demo_dataset.generate(images, config.demo_images, config.demo_seed, classes)
            images.chmod(stat.S_IMODE(images.stat().st_mode) & ~stat.S_IWOTH)  # see ``_trusted``
            images.rename(folder)
    return folder


def _trusted(folder: Path) -> Path:
    check_trust(folder)
    return folder
