"""A data set in memory, split and ready for training."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xray_hpc.config.run_config import DataConfig
from xray_hpc.data.array_store import DamagedStoreError
from xray_hpc.data.cache_folder import writing_to_cache
from xray_hpc.data.image_store import (
    CONTENT,
    ImageStore,
    build_image_store,
    describe_skipped,
    image_store_path,
    image_store_size,
    read_image_store,
)
from xray_hpc.data.index import Index, build_index
from xray_hpc.data.index_entry import IndexEntry, count_by_class
from xray_hpc.data.splits import shared_patients, small_classes, split_images
from xray_hpc.errors import DataError
from xray_hpc.records.atomic_files import file_lock
from xray_hpc.text import format_count

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """Images with their labels, patients and splits.

    Attributes:
        images: ``uint8 [N, size, size, channels]``, 0..255.
        labels: ``int64 [N]``, positions in ``classes``.
        files: N paths, relative to the set's root.
        patients: N names.
        classes: the class names, sorted.
        splits: positions in the N, ``int64``, for ``train``, ``validation`` and ``test``; images
            that ``data.per_class`` does not take are in none of them.
        fingerprint: the data's part of a run's identity (see ``Index``).
        notes: the warnings that were shown when the set was loaded.
        skipped: (path, reason) of the files that could not be read.
        contents: a hash of all files' contents.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    files: list[str]
    patients: list[str]
    classes: tuple[str, ...]
    splits: Mapping[str, npt.NDArray[np.int64]]
    fingerprint: str
    notes: list[str]
    skipped: list[tuple[str, str]]
    contents: str


def load_dataset(config: DataConfig, cache: Path, workers: int | None = None) -> Dataset:
    """The data set of ``config``; packs its images into ``cache`` the first time.

    One process packs, others wait for it. Warnings go to standard error, a line each, and into
    ``Dataset.notes``.

    Raises:
        UserError: the data cannot be used; the line says why.
    """
    return load_indexed(build_index(config, cache), config, cache, workers)


def load_indexed(
    index: Index, config: DataConfig, cache: Path, workers: int | None = None
) -> Dataset:
    """:func:`load` for an index made before."""
    parts = split_images(index.entries, config)
    packed, notes = _packed(index, config, cache, workers)
    entries = [index.entries[i] for i in packed.positions]
    place = np.full(len(index.entries), -1, np.int64)
    place[packed.positions] = np.arange(len(packed.positions))
    splits = {name: place[rows][place[rows] >= 0] for name, rows in parts.items()}
    for name, rows in splits.items():
        if not len(rows):
            raise DataError(f"{index.root}: no readable {name} images are left; mend the files")
    patients = [entry.patient for entry in entries]
    notes += small_classes(count_by_class(index.entries, len(index.classes)), index.classes, config)
    if packed.skipped:
        notes.append(f"{index.root}: skipped {describe_skipped(packed.skipped)}")
    if config.split == "patient":
        notes += _unknown_patients(entries)
    notes += shared_patients(patients, splits)
    files = [entry.path for entry in entries]
    notes += shared_contents(packed.digests, files, splits)
    for note in notes:
        logger.warning(note)
    return Dataset(
        images=packed.images,
        labels=np.array([entry.label for entry in entries], np.int64),
        files=files,
        patients=patients,
        classes=index.classes,
        splits=splits,
        fingerprint=index.fingerprint,
        notes=notes,
        skipped=packed.skipped,
        contents=hashlib.sha256("".join(packed.digests).encode()).hexdigest(),
    )


def _unknown_patients(entries: Sequence[IndexEntry]) -> list[str]:
    """A note where file names do not tell whose image it is, so that each counts as a patient."""
    alone = sum(entry.path.endswith(entry.patient) for entry in entries)
    if not alone:
        return []
    return [
        f"{alone:,} of {len(entries):,} file names carry no patient; the split takes each as a "
        "patient of its own (data=csv takes patients from a column)"
    ]


def _packed(
    index: Index, config: DataConfig, cache: Path, workers: int | None
) -> tuple[ImageStore, list[str]]:
    path = image_store_path(index, config, cache)
    try:
        return read_image_store(path, index, config), []
    except (OSError, DamagedStoreError):  # handled below, under the lock
        pass
    notes = []
    message = f"waiting for another process to decode the images ({path})"
    lock = path.with_name(f".{path.name}.lock")
    with (
        writing_to_cache(cache, CONTENT, image_store_size(index, config)),
        file_lock(lock, message=message),
    ):
        try:
            return read_image_store(path, index, config), []
        except FileNotFoundError:
            pass
        except DamagedStoreError as error:
            notes.append(f"{path} was damaged ({error}); decoded the images again")
        build_image_store(index, config, cache, workers)
        return read_image_store(path, index, config), notes


def shared_contents(
    digests: Sequence[str], files: Sequence[str], splits: Mapping[str, npt.NDArray[np.int64]]
) -> list[str]:
    """One line if files of equal contents lie in different parts, with the first of them."""
    where: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, rows in splits.items():
        for row in rows:
            where[digests[row]].setdefault(name, int(row))
    shared = [parts for parts in where.values() if len(parts) > 1]
    if not shared:
        return []
    first = " and ".join(f"{files[row]!r} ({name})" for name, row in shared[0].items())
    return [
        f"{format_count(len(shared), 'image')} with the same contents in more than one of "
        f"{', '.join(splits)}, such as {first}"
    ]
