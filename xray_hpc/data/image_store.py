"""Image store: all images of a data set, decoded once into one HDF5 file.

The runs on a node share one memory-mapped copy. The file must not be truncated or modified while it
is mapped, or readers are killed by SIGBUS; it is only ever replaced, which leaves maps intact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import islice, takewhile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xray_hpc.config.run_config import DataConfig
from xray_hpc.data.array_store import Block, DamagedStoreError
from xray_hpc.data.array_writer import StoreWriter, missing_bytes
from xray_hpc.data.cache_errors import cache_lock, check_free_space, writing_to_cache
from xray_hpc.data.decode import (
    MissingDecoderError,
    OutOfMemoryError,
    UnreadableImageError,
    decode_bytes,
    file_contents,
)
from xray_hpc.data.grey_levels import RANGE_KEY, smallest_depth
from xray_hpc.data.index import Index
from xray_hpc.data.index_entry import IndexEntry, describe_skipped
from xray_hpc.data.private_cache import with_private_cache
from xray_hpc.data.stored_images import (
    DIGEST_BYTES,
    MAX_UNREADABLE,
    REASON_BYTES,
    ImageStore,
    are_positions,
    common_range,
    image_store_path,
    image_store_specs,
    read_stored_images,
)
from xray_hpc.errors import DataError, StorageError
from xray_hpc.progress_bar import ProgressBar
from xray_hpc.thread_map import available_cores, bounded_thread_map

CONTENT = "the decoded images"
SAMPLES = 4
MAX_DIFFERENCE = 8.0  # mean of 256 grey levels; versions of a decoder differ by 1 or 2
ROWS = ("images", "digests", "largest", "positions")  # the arrays with one row per readable image

Decoded = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], int]


def load_image_store(index: Index, config: DataConfig, cache: Path) -> tuple[ImageStore, list[str]]:
    """Return the store, built if it is missing or damaged, and a note if it was damaged.

    One process builds it; others wait. It is in the user's own cache if ``cache`` is denied, or is
    in use by another user who is not trusted.
    """
    return with_private_cache(partial(_load, index, config), cache)


def _load(index: Index, config: DataConfig, cache: Path) -> tuple[ImageStore, list[str]]:
    path = image_store_path(index, config, cache)
    try:
        return read_image_store(path, index, config), []
    except (OSError, DamagedStoreError):  # handled below, under the lock
        pass
    notes = []
    message = f"waiting for another process to decode the images ({path})"
    lock = path.with_name(f".{path.name}.lock")
    size = sum(spec.nbytes for spec in image_store_specs(index, config).values())
    with writing_to_cache(cache, CONTENT, size), cache_lock(lock, message=message):
        try:
            return read_image_store(path, index, config), []
        except FileNotFoundError:
            pass
        except DamagedStoreError as error:
            notes.append(f"{path} was damaged ({error}); decoded the images again")
        build_image_store(index, config, cache)
        return read_stored_images(path, index, config), notes


def build_image_store(index: Index, config: DataConfig, cache: Path) -> None:
    """Decode every image of ``index`` into one HDF5 file; resume if a process was killed doing so.

    Unreadable images are skipped and listed in the store; too many raise ``DataError``. At most a
    few hundred images are in memory.
    """
    path, specs = image_store_path(index, config, cache), image_store_specs(index, config)
    check_free_space(cache, CONTENT, missing_bytes(path, specs))
    with StoreWriter(path, specs, index.store_key(config)) as writer:
        try:
            _write_images(writer, index, config)
            writer.finish()
        except Exception:
            writer.discard()
            raise


def read_image_store(path: Path, index: Index, config: DataConfig) -> ImageStore:
    """Map a store into memory, after a comparison of a few images with their files.

    The errors are those of ``array_store.read_arrays``.
    """
    store = read_stored_images(path, index, config)
    _check_samples(store, index, config)
    return store


def _check_samples(store: ImageStore, index: Index, config: DataConfig) -> None:
    """Raise ``DamagedStoreError`` if a few images are not those of their files.

    It finds rows in another order, which have the right key and checksums. A file that cannot be
    read or decoded here is not compared.
    """
    if store.range is not None:
        config = replace(config, range=store.range)
    for row in np.unique(np.linspace(0, len(store.positions) - 1, SAMPLES).astype(int)):
        entry = index.entries[store.positions[row]]
        try:
            decoded = _decode(index, config, entry)
        except (StorageError, UnreadableImageError):
            continue
        if not isinstance(decoded, UnreadableImageError) and (
            decoded[1].tobytes().hex() != store.digests[row]
            or np.abs(decoded[0].astype(int) - store.images[row]).mean() > MAX_DIFFERENCE
        ):
            raise DamagedStoreError(f"row {row} is not {entry.path!r}")


def _check_skipped(index: Index, positions: Iterable[int], skipped: list[tuple[str, str]]) -> None:
    """Raise ``DataError`` if too many images are unreadable, or all of a class."""
    if not skipped:
        return
    if len(skipped) > MAX_UNREADABLE * len(index.entries):
        advice = "; repair or remove them"
        if any(RANGE_KEY in reason for _, reason in skipped):
            advice = ""  # the reason says what to set
        raise DataError(
            f"{index.root}: {describe_skipped(skipped)} of {len(index.entries):,}, more than the "
            f"{MAX_UNREADABLE:.0%} allowed{advice}"
        )
    readable = [index.entries[i] for i in positions]
    for part in ("train", "test"):
        found = {entry.label for entry in readable if (entry.split == "test") == (part == "test")}
        for label, name in enumerate(index.classes):
            if label not in found:
                raise DataError(
                    f"{index.root}: class {name!r} has no readable image in {part} "
                    f"({describe_skipped(skipped)})"
                )


def _write_images(writer: StoreWriter, index: Index, config: DataConfig) -> None:
    by_array = [[block for block in writer.blocks if block.array == name] for name in ROWS]
    groups = list(zip(*by_array, strict=True))
    # The last group is always written again: it is the one that may be partly used.
    done = list(takewhile(lambda group: all(writer.written[b.number] for b in group), groups[:-1]))
    stored = [i for group in done for i in writer.read(group[-1])]
    if not are_positions(np.array(stored, np.int64), len(index.entries)):
        done, stored = [], []
    positions = [int(i) for i in stored if i >= 0]
    # An unreadable image before an interrupt is decoded again, for the reason.
    todo = sorted(set(range(len(index.entries))) - set(positions))
    skipped: dict[int, str] = {}
    images = _decode_all(index, config, todo, skipped)
    specs = {name: writer.specs[name] for name in ROWS}
    rows = {n: np.empty((s.block_rows, *s.shape[1:]), s.dtype) for n, s in specs.items()}
    with closing(images):
        for group in groups[len(done) :]:
            for name, array in rows.items():
                array.fill(-1 if name == "positions" else 0)
            for row, (i, decoded) in enumerate(islice(images, group[0].stop - group[0].start)):
                rows["images"][row], rows["digests"][row], rows["largest"][row] = decoded
                rows["positions"][row] = i
                positions.append(i)
            for block in group:
                writer.write(block, rows[block.array][: block.stop - block.start])
        assert next(images, None) is None, "more images than rows"
    if positions != sorted(positions):  # an image has become readable since the interrupt
        writer.written[:] = False
        return _write_images(writer, index, config)
    _check_skipped(index, positions, [(index.entries[i].path, skipped[i]) for i in sorted(skipped)])
    _apply_common_range(writer, groups, index, config)
    reasons = np.zeros(writer.specs["reasons"].shape, writer.specs["reasons"].dtype)
    reasons[: len(skipped)] = [_encode_reason(skipped[i]) for i in sorted(skipped)]
    for block in writer.blocks:
        if block.array == "reasons":
            writer.write(block, reasons)


def _apply_common_range(
    writer: StoreWriter, groups: Sequence[Sequence[Block]], index: Index, config: DataConfig
) -> None:
    """With ``data.range=auto``, decode those images again that need fewer bits than the set.

    Each image was scaled by the bits that it needs itself, because the set's were not known.
    """
    stored = [{block.array: block for block in group} for group in groups]
    largest = [writer.read(blocks["largest"]) for blocks in stored]
    bits = common_range(config, np.concatenate(largest))
    if config.range != "auto" or bits is None:
        return  # the usual case: without images of more than 8 bits, nothing is done twice
    again = [
        [row for row in np.flatnonzero(values) if smallest_depth(int(values[row])) != bits]
        for values in largest
    ]
    positions = [
        int(writer.read(blocks["positions"])[row])
        for blocks, rows in zip(stored, again, strict=True)
        for row in rows
    ]
    if not positions:
        return
    skipped: dict[int, str] = {}
    with closing(_decode_all(index, replace(config, range=bits), positions, skipped)) as images:
        for blocks, rows in zip(stored, again, strict=True):
            if rows:
                pixels = writer.read(blocks["images"]).copy()
                for row, (_, decoded) in zip(rows, images, strict=False):
                    pixels[row] = decoded[0]
                writer.write(blocks["images"], pixels)
    if skipped:
        name = index.entries[min(skipped)].path
        raise StorageError(f"{index.root / name} changed while it was read; run again")


def _encode_reason(reason: str) -> bytes:
    data, mark = reason.encode(), "…".encode()
    return data if len(data) <= REASON_BYTES else data[: REASON_BYTES - len(mark)] + mark


def _decode_all(
    index: Index, config: DataConfig, todo: Sequence[int], skipped: dict[int, str]
) -> Generator[tuple[int, Decoded], None, None]:
    """Yield the readable images with their positions; add the others to ``skipped``."""
    count, decode = len(index.entries), partial(_decode, index, config)
    entries, workers = (index.entries[i] for i in todo), available_cores()
    with (
        ProgressBar("decoding images", count, initial=count - len(todo)) as progress,
        closing(bounded_thread_map(decode, entries, workers, 4 * workers)) as results,
    ):
        for i, decoded in zip(todo, results, strict=True):
            progress.advance()
            if isinstance(decoded, UnreadableImageError):
                skipped[i] = decoded.reason
            else:
                yield i, decoded


def _decode(index: Index, config: DataConfig, entry: IndexEntry) -> Decoded | UnreadableImageError:
    path = index.root / entry.path
    try:
        chosen = None if isinstance(config.range, str) else config.range
        size, channels, clahe = config.image_size, config.channels, config.clahe
        with file_contents(path) as data:
            pixels, largest = decode_bytes(data, path, size, channels, clahe, chosen)
            digest = hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()
    except (MissingDecoderError, OutOfMemoryError):
        raise  # a store without the image would be used for good
    except UnreadableImageError as error:
        return error
    except OSError as error:  # the disk failed, not the image
        message = f"cannot read {path}: {error.strerror}; repair it and run again"
        raise StorageError(message) from error
    return pixels, np.frombuffer(digest, np.uint8), largest
