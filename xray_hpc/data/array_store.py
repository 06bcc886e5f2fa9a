"""HDF5 file of arrays that is written block by block and read as a memory map.

Every array has its place in the file from the start: a process that is killed while it writes loses
only the blocks it has not synced. Readers map the file, so that all processes on a node share its
pages. A CRC-32 per block is checked when the file is opened, and that its numbers are finite.

Anybody can compute the checksums. So a store is used only if its file is trusted (see
``file_owner``), and nothing in it is: its layout must be the one that this module writes.
"""

from __future__ import annotations

import json
import os
import stat
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from xray_hpc.data.private_cache import check_trust
from xray_hpc.regular_file import open_regular

CHECKSUMS, WRITTEN = "crc32", "written"  # one value per block

# What h5py raises for a file that is not the expected one.
UNREADABLE = (OSError, KeyError, ValueError, RuntimeError, TypeError)

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


def read_arrays(path: Path, specs: Specs, key: str) -> dict[str, Array]:
    """Map the arrays of a finished store read-only, after a check of every block.

    Raises:
        FileNotFoundError: there is no such file.
        CacheDeniedError: another user may have written anything into it.
        DamagedStoreError: the file is truncated, corrupt, was made for another key, has numbers
            that are not finite, or is this user's and everybody may write to it.
    """
    every = blocks(specs)
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        if status.st_uid == os.geteuid() and status.st_mode & stat.S_IWOTH:
            raise DamagedStoreError("everybody may write to it")
        check_trust(path, status)
        offsets = array_offsets(file, specs, key)
        arrays = {
            name: np.memmap(file, spec.dtype, "r", offsets[name], spec.shape)
            if spec.nbytes
            else np.empty(spec.shape, spec.dtype)
            for name, spec in specs.items()
        }
        stored = os.pread(file.fileno(), 4 * len(every), offsets[CHECKSUMS])
    for block, checksum in zip(every, np.frombuffer(stored, np.uint32), strict=True):
        rows = arrays[block.array][block.start : block.stop]
        if problem := block_problem(rows, checksum):
            raise DamagedStoreError(f"{block.array}[{block.start}:{block.stop}] {problem}")
    return arrays


def block_problem(rows: Array, checksum: int) -> str | None:
    """Return what is wrong with a block; ``None`` if it is intact and its numbers are finite."""
    if zlib.crc32(rows.reshape(-1).view(np.uint8).data) != checksum:
        return "does not match its checksum"
    return None if is_finite(rows) else "has numbers that are not finite"


def is_finite(rows: Array) -> bool:
    """Return whether all numbers are finite.

    Read as integers, the bits of positive numbers are below those of infinity, and those of all
    numbers, without a sign, below those of -infinity. This takes a quarter of the time of a CRC-32;
    ``np.isfinite`` takes three times that of one for float16.
    """
    if rows.dtype.kind != "f":
        return True
    bits = rows.view(f"i{rows.itemsize}"), rows.view(f"u{rows.itemsize}")
    limits = np.array([np.inf, -np.inf], rows.dtype).view(f"u{rows.itemsize}")
    return all(int(b.max(initial=0)) < int(limit) for b, limit in zip(bits, limits, strict=True))


def array_offsets(opened: BinaryIO, specs: Specs, key: str) -> dict[str, int]:
    """Return the offset in bytes of each array in an open file; raise ``DamagedStoreError``."""
    count = len(blocks(specs))
    expected = {name: (spec.shape, spec.dtype) for name, spec in specs.items()}
    expected |= {CHECKSUMS: ((count,), "uint32"), WRITTEN: ((count,), "uint8")}
    try:
        with h5py.File(opened, "r", locking=False) as file:
            if file.attrs["key"] != key or file.attrs["arrays"] != describe_arrays(specs):
                raise DamagedStoreError("made for another key")
            offsets = {name: _offset(file, name, *what) for name, what in expected.items()}
            ends = [offset + file[name].nbytes for name, offset in offsets.items()]
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file system failed, or denies access: the file is not damaged
        raise DamagedStoreError(str(error).partition("\n")[0]) from error
    if os.fstat(opened.fileno()).st_size < max(ends):
        raise DamagedStoreError("truncated")
    return offsets


def _offset(file: h5py.File, name: str, shape: tuple[int, ...], dtype: str) -> int:
    """Return the offset of an array of this shape and type."""
    array = own_array(file, name)
    offset = array.id.get_offset()
    fits = (array.shape, array.dtype) == (shape, np.dtype(dtype))
    if not fits or (offset is None and array.nbytes):
        raise DamagedStoreError(f"{name} is not stored as {dtype} {list(shape)}")
    return offset or 0


def own_array(file: h5py.File, name: str) -> Any:
    """Return the dataset ``name``, whose values lie in the file itself, in one piece.

    Links to other files are not followed: they could lead to anything.

    Raises:
        DamagedStoreError: there is something else, or nothing.
    """
    array = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if (
        not isinstance(array, h5py.Dataset)
        or array.chunks is not None
        or array.external is not None
        or array.is_virtual
    ):
        raise DamagedStoreError(f"{name} is not an array of this file")
    return array


def describe_arrays(specs: Specs) -> str:
    return json.dumps({n: [list(s.shape), s.dtype, s.block_rows] for n, s in specs.items()})
