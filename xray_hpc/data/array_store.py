"""Arrays in one HDF5 file, filled a block of rows at a time and read where they lie on the disk.

Every array is contiguous, and has its place in the file before anything is in it. So a process that
is killed while it fills them loses what it has not synced, another goes on from there, and readers
map the file: those of one node share its pages.
"""

from __future__ import annotations

import io
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

PAGE = 4096  # bytes
BLOCK_BYTES = 4 * 2**20
SYNC_SECONDS = 5.0
CHECKSUMS, DONE = "crc32", "done"  # of each block; how many there are


class DamagedStoreError(Exception):
    """The file is cut short, damaged, or another than was asked for."""


@dataclass(frozen=True)
class ArraySpec:
    """An array of the file; ``rows`` of its first axis make a block, the last one may be short."""

    shape: tuple[int, ...]
    dtype: str
    rows: int

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


class Block(NamedTuple):
    """Rows ``start`` to ``stop`` of an array; ``number`` counts over all arrays."""

    number: int
    array: str
    start: int
    stop: int


def blocks(arrays: Mapping[str, ArraySpec]) -> list[Block]:
    """The blocks of a file in the order in which they are filled."""
    places = [
        (name, start, min(start + array.rows, array.shape[0]))
        for name, array in arrays.items()
        for start in range(0, array.shape[0], array.rows)
    ]
    return [Block(number, *place) for number, place in enumerate(places)]


class StoreWriter:
    """A file that is being filled; it has its name when all blocks are written, and not before.

    A context manager. One process at a time: hold a lock. What an earlier process with the same
    ``key`` has written stays.

    Raises:
        OSError: the file system failed.
    """

    def __init__(self, path: Path, arrays: Mapping[str, ArraySpec], key: str) -> None:
        self.path = path
        self.partial = _partial(path)
        self.blocks = blocks(arrays)
        self._arrays = arrays
        try:
            self._places = _places(self.partial, arrays, key)
        except (FileNotFoundError, DamagedStoreError):
            self.partial.unlink(missing_ok=True)
            _create(self.partial, arrays, key)
            self._places = _places(self.partial, arrays, key)
        self._file = os.open(self.partial, os.O_RDWR)
        self.done = int(np.frombuffer(os.pread(self._file, 8, self._places[DONE]), np.int64)[0])
        self._safe, self._synced = self.done, time.monotonic()

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        os.close(self._file)

    @property
    def left(self) -> Sequence[Block]:
        """The blocks that are still to be written, in this order."""
        return self.blocks[self.done :]

    @property
    def synced(self) -> bool:
        """Whether all that was written is on the disk."""
        return self._safe == self.done

    def dtype(self, block: Block) -> str:
        """The type of the array that ``block`` is of."""
        return self._arrays[block.array].dtype

    def write(self, block: Block, rows: npt.NDArray[Any]) -> None:
        """Write the next block. It is safe from a crash of the node a few seconds later."""
        assert block.number == self.done, "blocks are written in their order"
        array = self._arrays[block.array]
        rows = np.ascontiguousarray(rows, array.dtype)
        assert rows.shape == (block.stop - block.start, *array.shape[1:])
        data = rows.reshape(-1).view(np.uint8).data
        row_bytes = array.nbytes // array.shape[0]
        self._write(data, self._places[block.array] + block.start * row_bytes)
        checksum = np.array(zlib.crc32(data), np.uint32)
        self._write(checksum.tobytes(), self._places[CHECKSUMS] + 4 * block.number)
        self.done += 1
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Bring what was written to the disk, so that another process can go on from it."""
        os.fsync(self._file)
        self._write(np.array(self.done, np.int64).tobytes(), self._places[DONE])
        self._safe, self._synced = self.done, time.monotonic()

    def finish(self) -> None:
        """Give the file its name."""
        assert not self.left, "blocks are missing"
        self.sync()
        os.fsync(self._file)
        os.replace(self.partial, self.path)

    def _write(self, data: bytes | memoryview, place: int) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._file, rest, place)
            rest, place = rest[written:], place + written


def read_arrays(
    path: Path, arrays: Mapping[str, ArraySpec], key: str
) -> dict[str, npt.NDArray[Any]]:
    """Map the arrays of a finished file, read-only; every block is checked first.

    The mapping holds the file that was there, also when another takes its name.

    Raises:
        FileNotFoundError: there is none.
        DamagedStoreError: it is not whole, or not that of ``key``.
    """
    places = _places(path, arrays, key)
    found = {
        name: np.memmap(path, array.dtype, "r", places[name], array.shape)
        if array.nbytes
        else np.empty(array.shape, array.dtype)
        for name, array in arrays.items()
    }
    every = blocks(arrays)
    with path.open("rb") as file:
        said = np.frombuffer(os.pread(file.fileno(), 4 * len(every), places[CHECKSUMS]), np.uint32)
    for block in every:
        rows = found[block.array][block.start : block.stop]
        if zlib.crc32(rows.reshape(-1).view(np.uint8).data) != said[block.number]:
            raise DamagedStoreError(
                f"{block.array} is damaged in rows {block.start} to {block.stop}"
            )
    return found


def missing_bytes(path: Path, arrays: Mapping[str, ArraySpec]) -> int:
    """How many bytes of the disk a file still takes; some blocks may be in place."""
    whole = sum(array.nbytes for array in arrays.values())
    try:
        return max(whole - 512 * _partial(path).stat().st_blocks, 0)
    except FileNotFoundError:
        return whole


def blocks_written(path: Path) -> int:
    """How many blocks of a file that a process fills are safe; 0 where none does."""
    try:
        with h5py.File(_partial(path), "r", locking=False) as file:
            return int(file[DONE][0])
    except (OSError, KeyError, ValueError, RuntimeError, TypeError):  # it may just be made
        return 0


def block_rows(shape: Sequence[int], dtype: str) -> int:
    """How many rows of an array make a block of about ``BLOCK_BYTES``."""
    row = int(np.prod(shape[1:], dtype=np.int64)) * np.dtype(dtype).itemsize
    return max(1, BLOCK_BYTES // max(row, 1))


def _partial(path: Path) -> Path:
    """What a file is called while it is filled."""
    return path.with_name(f".{path.name}.partial")


def _create(path: Path, arrays: Mapping[str, ArraySpec], key: str) -> None:
    number = len(blocks(arrays))
    with new_file(path) as (file, _):
        file.attrs["key"] = key
        file.attrs["arrays"] = _words(arrays)
        for name, array in arrays.items():
            _allocate(file, name, array.shape, np.dtype(array.dtype))
        _allocate(file, CHECKSUMS, (number,), np.dtype(np.uint32))
        file[DONE] = np.zeros(1, np.int64)


def _allocate(
    file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> None:
    """Give an array its place in the file, with nothing in it."""
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_layout(h5py.h5d.CONTIGUOUS)
    how.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    how.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(shape)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype), space, how)


def _places(path: Path, arrays: Mapping[str, ArraySpec], key: str) -> dict[str, int]:
    """Where each array begins in the file, in bytes."""
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs["key"] != key or file.attrs["arrays"] != _words(arrays):
                raise DamagedStoreError("made of something else")
            names = [*arrays, CHECKSUMS, DONE]
            places = {name: file[name].id.get_offset() or 0 for name in names}
            ends = [places[name] + file[name].nbytes for name in names]
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file system failed, or the file is another's: it is not damaged
        raise DamagedStoreError(str(error).partition("\n")[0]) from error
    if path.stat().st_size < max(ends):
        raise DamagedStoreError("cut short")
    return places


def _words(arrays: Mapping[str, ArraySpec]) -> str:
    return json.dumps({n: [list(a.shape), a.dtype, a.rows] for n, a in arrays.items()})


@contextmanager
def new_file(path: Path) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Yield a new HDF5 file, and a function that raises if writing it has failed so far.

    When the HDF5 library itself meets a full disk it cannot close the file any more, and crashes
    the interpreter on its way out. So the bytes go through Python here: a failed write is kept
    from the library, and raised when the block asks or ends.

    An array of a page or more begins with a page, for those who map it.

    Raises:
        OSError: a write failed.
    """
    with _Target(path, "w+b") as target:
        try:
            with h5py.File(target, "w", alignment_threshold=PAGE, alignment_interval=PAGE) as file:
                yield file, target.check
        except OSError:
            target.check()
            raise
        target.check()


class _Target(io.FileIO):
    """A file that remembers its first failed write, and pretends that all went well."""

    error: OSError | None = None

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        rest = memoryview(data).cast("B")
        length = len(rest)
        try:
            while rest and self.error is None:
                rest = rest[super().write(rest) or 0 :]
        except OSError as error:
            self.error = error
        return length

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def check(self) -> None:
        if self.error is not None:
            raise self.error
