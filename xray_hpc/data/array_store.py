"""HDF5 file of arrays that is written block by block and read as a memory map.

Every array has its place in the file from the start: a process that is killed while it writes loses
only the blocks it has not synced. Readers map the file, so that all processes on a node share its
pages. A CRC-32 per block is checked when the file is opened.
"""

from __future__ import annotations

import io
import json
import os
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

PAGE = 4096  # bytes
SYNC_SECONDS = 5.0
CHECKSUMS, WRITTEN = "crc32", "written"  # one value per block

Array = npt.NDArray[Any]


class DamagedStoreError(Exception):
    """The file is truncated, corrupt, or was made for another key."""


@dataclass(frozen=True)
class ArraySpec:
    """Shape and type of an array. ``block_rows`` rows make a block; the last may be shorter."""

    shape: tuple[int, ...]
    dtype: str
    block_rows: int

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


Specs = Mapping[str, ArraySpec]


class Block(NamedTuple):
    """Rows ``start`` to ``stop`` of an array; ``number`` counts the blocks of all arrays."""

    number: int
    array: str
    start: int
    stop: int


def blocks(specs: Specs) -> list[Block]:
    """Return the blocks of all arrays, in the order of ``specs``."""
    ranges = [
        (name, start, min(start + spec.block_rows, spec.shape[0]))
        for name, spec in specs.items()
        for start in range(0, spec.shape[0], spec.block_rows)
    ]
    return [Block(number, *where) for number, where in enumerate(ranges)]


class StoreWriter:
    """Context manager that writes a store, and resumes one that was begun with the same ``key``.

    The file has a temporary name until :meth:`finish`. Hold a lock: only one process may write.

    Attributes:
        specs: the arrays of the store.
        blocks: all blocks of the store.
        written: ``bool [blocks]``, the blocks already written.
    """

    def __init__(self, path: Path, specs: Specs, key: str) -> None:
        self.path = path
        self.partial = _partial(path)
        self.blocks = blocks(specs)
        self.specs = specs
        try:
            self._offsets = _offsets(self.partial, specs, key)
        except (FileNotFoundError, DamagedStoreError):
            self.partial.unlink(missing_ok=True)
            _create(self.partial, specs, key)
            self._offsets = _offsets(self.partial, specs, key)
        self._file = os.open(self.partial, os.O_RDWR)
        flags = os.pread(self._file, len(self.blocks), self._offsets[WRITTEN])
        self.written = np.frombuffer(flags, np.bool_).copy()
        self._last_sync, self.synced = time.monotonic(), True

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    @property
    def done(self) -> int:
        return int(self.written.sum())

    @property
    def missing(self) -> list[Block]:
        return [block for block in self.blocks if not self.written[block.number]]

    def write(self, block: Block, rows: Array) -> None:
        """Write a block. It survives a crash of the node once ``synced`` is true again."""
        spec = self.specs[block.array]
        rows = np.ascontiguousarray(rows, spec.dtype)
        assert rows.shape == (block.stop - block.start, *spec.shape[1:])
        data = rows.reshape(-1).view(np.uint8).data
        self._write(data, self._offset(block))
        checksum = np.array(zlib.crc32(data), np.uint32)
        self._write(checksum.tobytes(), self._offsets[CHECKSUMS] + 4 * block.number)
        self.written[block.number], self.synced = True, False
        if time.monotonic() - self._last_sync >= SYNC_SECONDS:
            self.sync()

    def read(self, block: Block) -> Array:
        spec = self.specs[block.array]
        count = (block.stop - block.start) * (spec.nbytes // spec.shape[0])
        data = os.pread(self._file, count, self._offset(block))
        return np.frombuffer(data, spec.dtype).reshape(-1, *spec.shape[1:])

    def sync(self) -> None:
        """Flush to the disk, so that another process can resume from here."""
        os.fsync(self._file)
        self._write(self.written.tobytes(), self._offsets[WRITTEN])
        self._last_sync, self.synced = time.monotonic(), True

    def finish(self) -> None:
        """Give the complete file its name."""
        assert self.written.all(), "blocks are missing"
        self.sync()
        os.fsync(self._file)
        os.replace(self.partial, self.path)

    def discard(self) -> None:
        self.partial.unlink(missing_ok=True)

    def _offset(self, block: Block) -> int:
        spec = self.specs[block.array]
        return self._offsets[block.array] + block.start * (spec.nbytes // spec.shape[0])

    def _write(self, data: bytes | memoryview, offset: int) -> None:
        rest = memoryview(data)
        while rest:
            count = os.pwrite(self._file, rest, offset)
            rest, offset = rest[count:], offset + count


def read_arrays(path: Path, specs: Specs, key: str) -> dict[str, Array]:
    """Map the arrays of a finished store read-only, after a check of every block.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedStoreError: the file is truncated, corrupt, or was made for another key.
    """
    offsets = _offsets(path, specs, key)
    arrays = {
        name: np.memmap(path, spec.dtype, "r", offsets[name], spec.shape)
        if spec.nbytes
        else np.empty(spec.shape, spec.dtype)
        for name, spec in specs.items()
    }
    every = blocks(specs)
    with path.open("rb") as file:
        stored = os.pread(file.fileno(), 4 * len(every), offsets[CHECKSUMS])
    for block, checksum in zip(every, np.frombuffer(stored, np.uint32), strict=True):
        rows = arrays[block.array][block.start : block.stop]
        if zlib.crc32(rows.reshape(-1).view(np.uint8).data) != checksum:
            raise DamagedStoreError(
                f"{block.array}[{block.start}:{block.stop}] does not match its checksum"
            )
    return arrays


def missing_bytes(path: Path, specs: Specs) -> int:
    """Return how many bytes of disk the store still needs; part of it may be written."""
    total = sum(spec.nbytes for spec in specs.values())
    try:
        return max(total - 512 * _partial(path).stat().st_blocks, 0)
    except FileNotFoundError:
        return total


def blocks_written(path: Path) -> int:
    """Return how many blocks of an unfinished store are synced; 0 if there is none."""
    try:
        with h5py.File(_partial(path), "r", locking=False) as file:
            return int(file[WRITTEN][:].sum())
    except (OSError, KeyError, ValueError, RuntimeError, TypeError):  # it may be half created
        return 0


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _create(path: Path, specs: Specs, key: str) -> None:
    """Create a store in which no block is written; arrays of a page or more begin at a page."""
    count = len(blocks(specs))
    with _Target(path, "w+b") as target:
        try:
            aligned = {"alignment_threshold": PAGE, "alignment_interval": PAGE}
            with h5py.File(target, "w", locking=False, **aligned) as file:
                file.attrs["key"] = key
                file.attrs["arrays"] = _describe(specs)
                for name, spec in specs.items():
                    _allocate(file, name, spec.shape, spec.dtype)
                _allocate(file, CHECKSUMS, (count,), "uint32")
                file[WRITTEN] = np.zeros(count, np.uint8)
            if target.error is not None:
                raise target.error
        except OSError as error:
            path.unlink()
            raise target.error or error from error


def _allocate(file: h5py.File, name: str, shape: tuple[int, ...], dtype: str) -> None:
    """Reserve the place of a contiguous array without writing to it."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(shape)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(np.dtype(dtype)), space, plan)


def _offsets(path: Path, specs: Specs, key: str) -> dict[str, int]:
    """Return the offset in bytes of each array in the file."""
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs["key"] != key or file.attrs["arrays"] != _describe(specs):
                raise DamagedStoreError("made for another key")
            names = [*specs, CHECKSUMS, WRITTEN]
            offsets = {name: file[name].id.get_offset() or 0 for name in names}
            ends = [offsets[name] + file[name].nbytes for name in names]
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file system failed, or denies access: the file is not damaged
        raise DamagedStoreError(str(error).partition("\n")[0]) from error
    if path.stat().st_size < max(ends):
        raise DamagedStoreError("truncated")
    return offsets


def _describe(specs: Specs) -> str:
    return json.dumps({n: [list(s.shape), s.dtype, s.block_rows] for n, s in specs.items()})


class _Target(io.FileIO):
    """A file that remembers its first failed write instead of raising it.

    If the HDF5 library itself met a full disk, it could not close the file and would crash the
    interpreter at exit.
    """

    error: OSError | None = None

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        rest = memoryview(data).cast("B")
        try:
            while rest and self.error is None:
                rest = rest[super().write(rest) or 0 :]
        except OSError as error:
            self.error = error
        return data.nbytes

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0
