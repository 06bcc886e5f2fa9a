"""The file of the image store: its path, its arrays, and reading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xray_hpc.config.run_config import DataConfig, GreyRange
from xray_hpc.data.array_store import ArraySpec, DamagedStoreError, read_arrays
from xray_hpc.data.grey_levels import BIT_DEPTHS, smallest_depth
from xray_hpc.data.index import Index

MAX_UNREADABLE = 0.1
BLOCK_BYTES = 4 * 2**20
DIGEST_BYTES, REASON_BYTES = 16, 200


@dataclass(frozen=True)
class ImageStore:
    """The decoded images of a data set.

    Attributes:
        images: ``uint8 [N, size, size, channels]``, read-only.
        positions: ``int64 [N]``, the position of each image in the index.
        digests: hashes of the N files' contents.
        largest: ``int64 [N]``, the largest value of each image with more than 8 bits, of which the
            range is chosen; 0 for others.
        range: ``data.range``, or what ``auto`` chose; None without wide images.
        skipped: (path, reason) of the unreadable files; a reason over 200 bytes is cut, with "…".
    """

    images: npt.NDArray[np.uint8]
    positions: npt.NDArray[np.int64]
    digests: list[str]
    largest: npt.NDArray[np.int64]
    range: GreyRange | None
    skipped: list[tuple[str, str]]


def image_store_path(index: Index, config: DataConfig, cache: Path) -> Path:
    """Return the path of the store for these images at this size."""
    return cache / f"images-{config.image_size}x{config.channels}-{index.store_key(config)[:16]}.h5"


def image_store_specs(index: Index, config: DataConfig) -> dict[str, ArraySpec]:
    """Return the arrays of the store.

    ``images``, ``digests``, ``largest`` (the largest grey value of more than 8 bits, or 0) and
    ``positions`` have a row per readable image, in the same blocks; unused rows at the end have
    position -1. ``reasons`` has a row per unreadable image.
    """
    count, size = len(index.entries), config.image_size
    shape = (count, size, size, config.channels)
    block_rows = max(1, BLOCK_BYTES // (size * size * config.channels))
    unreadable = int(MAX_UNREADABLE * count)
    return {
        "images": ArraySpec(shape, "uint8", block_rows),
        "digests": ArraySpec((count, DIGEST_BYTES), "uint8", block_rows),
        "largest": ArraySpec((count,), "int64", block_rows),
        "positions": ArraySpec((count,), "int64", block_rows),
        "reasons": ArraySpec((unreadable,), f"S{REASON_BYTES}", max(unreadable, 1)),
    }


def read_stored_images(path: Path, index: Index, config: DataConfig) -> ImageStore:
    """Map a store into memory; the errors are those of ``array_store.read_arrays``.

    Every value that is not a pixel must be one that a writer can have stored.
    """
    arrays = read_arrays(path, image_store_specs(index, config), index.store_key(config))
    positions = np.array(arrays["positions"])
    if not are_positions(positions, len(index.entries)):
        raise DamagedStoreError("positions that are not those of the images")
    positions = positions[positions >= 0]
    missing = np.setdiff1d(np.arange(len(index.entries)), positions)
    largest = np.asarray(arrays["largest"])
    if len(missing) > len(arrays["reasons"]):
        raise DamagedStoreError(f"{len(missing):,} images are missing")
    if not ((largest >= 0) & (largest < 2 ** BIT_DEPTHS[-1])).all():
        raise DamagedStoreError("grey values that no file can have")
    return ImageStore(
        images=np.asarray(arrays["images"])[: len(positions)],
        positions=positions,
        digests=[row.tobytes().hex() for row in arrays["digests"][: len(positions)]],
        largest=largest[: len(positions)],
        range=common_range(config, largest),
        skipped=[
            (index.entries[i].path, reason.decode(errors="ignore"))
            for i, reason in zip(missing, arrays["reasons"][: len(missing)], strict=True)
        ],
    )


def are_positions(rows: npt.NDArray[np.int64], count: int) -> bool:
    """Return whether rows are increasing positions in an index, followed by unused ones (-1)."""
    used = rows[: np.count_nonzero(rows != -1)]
    return bool(((used >= 0) & (used < count)).all() and (np.diff(used) > 0).all())


def common_range(config: DataConfig, largest: npt.NDArray[np.int64]) -> GreyRange | None:
    """Return the range of the data set, from the largest value of each wide image."""
    if not isinstance(config.range, str):
        return config.range
    return smallest_depth(int(largest.max())) if largest.any() else None
