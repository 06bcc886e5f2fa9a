"""All images of a data set, decoded once, in one HDF5 file.

It is mapped into memory, so that the runs on a node share one copy of it, the system's. A checksum
of each block of images is checked when it is loaded. From then on the file is not to be cut short
or written into. Nothing here does so: another pack takes its name, and leaves one that is mapped as
it is. A process that reads what is gone from the file, or from a server, is killed by SIGBUS.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from xray_hpc.config.run_config import DataConfig
from xray_hpc.data.array_store import block_rows, new_file
from xray_hpc.data.cache_folder import check_free_space
from xray_hpc.data.decode import MissingDecoderError, UnreadableImageError, decode_bytes, read_bytes
from xray_hpc.data.index import STORE_VERSION, Index
from xray_hpc.data.index_entry import IndexEntry
from xray_hpc.errors import DataError, StorageError
from xray_hpc.progress_bar import ProgressBar
from xray_hpc.records.atomic_files import atomic_write
from xray_hpc.text import format_count
from xray_hpc.thread_map import available_cores, bounded_thread_map

LARGEST_LOSS = 0.1
WHAT = "the packed images"

Decoded = tuple[npt.NDArray[np.uint8], bytes]


class DamagedStoreError(Exception):
    """The file is not a whole pack of this data."""


@dataclass(frozen=True)
class ImageStore:
    """A packed data set.

    ``images`` is ``uint8 [N, size, size, channels]`` and cannot be written; ``kept`` holds the
    position of each image in the index; ``digests`` are hashes of the files' contents; ``skipped``
    are the files that could not be read, as (path, reason).
    """

    images: npt.NDArray[np.uint8]
    kept: npt.NDArray[np.int64]
    digests: list[str]
    skipped: list[tuple[str, str]]


def image_store_path(index: Index, config: DataConfig, cache: Path) -> Path:
    """Where the pack of these images, at this size, lies."""
    return cache / f"images-{config.image_size}x{config.channels}-{index.store_key(config)[:16]}.h5"


def build_image_store(
    index: Index, config: DataConfig, cache: Path, workers: int | None = None
) -> Path:
    """Decode every image of ``index`` into one HDF5 file, whole or not at all.

    Files that are no images are left out and listed in the pack. ``workers`` threads decode (as
    many as this process may use cores, by default); at most a few hundred images are in memory.

    Raises:
        UserError: too many images are unreadable, or the disk has no room.
        OSError: the file system failed (see ``cache.writing``).
    """
    path = image_store_path(index, config, cache)
    check_free_space(cache, WHAT, image_store_size(index, config))
    with atomic_write(path) as temporary, new_file(temporary) as (file, check):
        _write(file, check, index, config, workers or available_cores())
    return path


def image_store_size(index: Index, config: DataConfig) -> int:
    """The packed images' size in bytes."""
    return len(index.entries) * config.image_size**2 * config.channels


def _write(
    file: h5py.File, check: Callable[[], None], index: Index, config: DataConfig, workers: int
) -> None:
    size = config.image_size
    images = file.create_dataset(
        "images", (len(index.entries), size, size, config.channels), np.uint8
    )  # in one piece; the last ones stay empty where some cannot be read
    block = block_rows(images.shape, "uint8")
    buffer = np.empty((block, *images.shape[1:]), np.uint8)
    checksums: list[int] = []
    kept: list[int] = []
    digests: list[str] = []
    skipped: list[tuple[str, str]] = []

    def flush(count: int) -> None:
        if count:
            images[len(kept) - count : len(kept)] = buffer[:count]
            checksums.append(zlib.crc32(buffer[:count].data))
            check()

    decode = partial(_decode, index, config)
    with (
        ProgressBar("packing images", len(index.entries)) as progress,
        closing(bounded_thread_map(decode, index.entries, workers, 4 * workers)) as results,
    ):
        for i, decoded in enumerate(results):
            progress.advance()
            if isinstance(decoded, UnreadableImageError):
                skipped.append((index.entries[i].path, decoded.reason))
                continue
            buffer[len(kept) % block], digest = decoded
            kept.append(i)
            digests.append(digest.hex())
            if len(kept) % block == 0:
                flush(block)
    flush(len(kept) % block)
    check_losses(index, kept, skipped)
    entries = [index.entries[i] for i in kept]
    text = h5py.string_dtype("utf-8")
    file.create_dataset("kept", data=np.array(kept, np.int64), fletcher32=True)
    file["checksums"] = np.array(checksums, np.uint32)
    file["labels"] = np.array([entry.label for entry in entries], np.int64)
    file.create_dataset("files", data=[entry.path for entry in entries], dtype=text)
    file.create_dataset("patients", data=[entry.patient for entry in entries], dtype=text)
    file.create_dataset("splits", data=[entry.split for entry in entries], dtype=text)
    file.create_dataset("digests", data=digests, dtype=text)
    file.create_dataset("skipped", data=json.dumps(skipped), dtype=text)
    file.attrs["version"] = STORE_VERSION
    file.attrs["key"] = index.store_key(config)
    file.attrs["fingerprint"] = index.fingerprint
    file.attrs["classes"] = json.dumps(index.classes)


def _decode(index: Index, config: DataConfig, entry: IndexEntry) -> Decoded | UnreadableImageError:
    path = index.root / entry.path
    try:
        data = read_bytes(path)
        pixels = decode_bytes(data, path, config.image_size, config.channels, config.clahe)
        return pixels, hashlib.blake2b(data, digest_size=16).digest()
    except MissingDecoderError as error:  # a pack without it would be kept for good
        raise DataError(str(error)) from error
    except UnreadableImageError as error:
        return error
    except OSError as error:  # the disk failed, not the image: do not go on without it
        raise StorageError(f"cannot read {path}: {error.strerror}; mend it, run again") from error


def check_losses(index: Index, kept: Sequence[int], skipped: Sequence[tuple[str, str]]) -> None:
    """Refuse a set of which too much could not be read."""
    if not skipped:
        return
    if len(skipped) > LARGEST_LOSS * len(index.entries):
        raise DataError(
            f"{index.root}: {describe_skipped(skipped)} of {len(index.entries):,}; more than "
            f"{LARGEST_LOSS:.0%} is too many, mend or remove them"
        )
    left = Counter((index.entries[i].split == "test", index.entries[i].label) for i in kept)
    for is_test in (False, True):
        for label, name in enumerate(index.classes):
            if not left[is_test, label]:
                part = "test" if is_test else "train"
                raise DataError(
                    f"{index.root}: no readable image of class {name!r} is left in {part} "
                    f"({describe_skipped(skipped)})"
                )


def describe_skipped(skipped: Sequence[tuple[str, str]]) -> str:
    """``"2 unreadable images ('a.png': empty file; 'b.png': not an image)"``."""
    shown = "; ".join(f"{path!r}: {reason}" for path, reason in skipped[:3])
    more = "; ..." if len(skipped) > 3 else ""
    return f"{format_count(len(skipped), 'unreadable image')} ({shown}{more})"


def read_image_store(path: Path, index: Index, config: DataConfig) -> ImageStore:
    """Map a pack into memory, and check that it is whole.

    Raises:
        FileNotFoundError: there is none.
        DamagedStoreError: the file is cut short, damaged, or not of this data.
    """
    try:
        with path.open("rb") as handle, h5py.File(handle, "r") as file:
            if file.attrs["key"] != index.store_key(config):
                raise DamagedStoreError("made of other images")
            kept = file["kept"][:]
            digests = file["digests"].asstr()[:].tolist()
            skipped = [tuple(pair) for pair in json.loads(file["skipped"].asstr()[()])]
            shape, offset = file["images"].shape, file["images"].id.get_offset()
            images = np.asarray(np.memmap(handle, np.uint8, "r", offset, shape))[: len(kept)]
            checksums = file["checksums"][:]
    except FileNotFoundError:
        raise
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise DamagedStoreError(str(error).partition("\n")[0]) from error
    if len(images) != len(kept) or len(digests) != len(kept):
        raise DamagedStoreError("its parts differ in length")
    block = block_rows(shape, "uint8")
    starts = range(0, len(kept), block)
    if checksums.tolist() != [zlib.crc32(images[i : i + block].data) for i in starts]:
        raise DamagedStoreError("images have changed")
    return ImageStore(images, kept, digests, skipped)
