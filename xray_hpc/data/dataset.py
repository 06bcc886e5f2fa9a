"""Data set of images, labels and splits, ready for training."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xray_hpc.config.run_config import DataConfig, GreyRange
from xray_hpc.data.duplicate_images import copied_images, similar_classes
from xray_hpc.data.grey_levels import range_notes
from xray_hpc.data.image_store import load_image_store
from xray_hpc.data.index import Index, build_index
from xray_hpc.data.index_entry import count_by_class, describe_skipped
from xray_hpc.data.splits import shared_patients, small_classes, split_images
from xray_hpc.errors import DataError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """Images with their labels, patients and splits.

    Attributes:
        images: ``uint8 [N, size, size, channels]``, 0..255.
        labels: ``int64 [N]``, positions in ``classes``.
        files: N paths, relative to the root of the index.
        patients: N names.
        classes: the sorted class names.
        splits: ``int64`` positions of the ``train``, ``validation`` and ``test`` images; images
            left out by ``data.per_class`` are in none.
        fingerprint: see ``Index``.
        notes: the warnings printed when the set was loaded.
        skipped: (path, reason) of the unreadable files.
        contents: a hash of the contents of all files.
        range: the grey values shown black and white in files of more than 8 bits, if any.
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
    range: GreyRange | None = None


def load_dataset(config: DataConfig, cache: Path) -> Dataset:
    """Load the data set of ``config``; its images are decoded into ``cache`` the first time.

    One process decodes, others wait for it. Warnings go to standard error and ``Dataset.notes``.
    """
    return load_indexed(build_index(config, cache), config, cache)


def load_indexed(index: Index, config: DataConfig, cache: Path) -> Dataset:
    """Load the data set of an index, as :func:`load_dataset` does."""
    parts = split_images(index.entries, config)
    store, notes = load_image_store(index, config, cache)
    entries = [index.entries[i] for i in store.positions]
    row_of = np.full(len(index.entries), -1, np.int64)
    row_of[store.positions] = np.arange(len(store.positions))
    splits = {name: row_of[rows][row_of[rows] >= 0] for name, rows in parts.items()}
    for name, rows in splits.items():
        if not len(rows):
            raise DataError(f"{index.root}: no readable {name} image; repair the files")
    patients = [entry.patient for entry in entries]
    notes += small_classes(count_by_class(index.entries, len(index.classes)), index.classes, config)
    if store.skipped:
        notes.append(f"{index.root}: skipped {describe_skipped(store.skipped)}")
    files = [entry.path for entry in entries]
    notes += range_notes(config.range, store.largest, store.images, files)
    unknown = sum(entry.path.endswith(entry.patient) for entry in entries)
    if unknown and config.split == "patient":
        notes.append(
            f"{unknown:,} of {len(entries):,} file names do not identify a patient; each counts "
            "as one (data=csv reads patients from a column)"
        )
    notes += shared_patients(patients, splits)
    labels = [index.classes[entry.label] for entry in entries]
    notes += copied_images(store.digests, files, labels, splits)
    notes += similar_classes(index.classes)
    for note in notes:
        logger.warning(note)
    return Dataset(
        images=store.images,
        labels=np.array([entry.label for entry in entries], np.int64),
        files=files,
        patients=patients,
        classes=index.classes,
        splits=splits,
        fingerprint=index.fingerprint,
        notes=notes,
        skipped=store.skipped,
        contents=hashlib.sha256("".join(store.digests).encode()).hexdigest(),
        range=store.range,
    )
