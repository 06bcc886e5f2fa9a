"""Write an array store block by block."""

from __future__ import annotations

import errno
import io
import os
import stat
import time
import zlib
from pathlib import Path

import h5py
import numpy as np

from xray_hpc.data.array_store import (
    CHECKSUMS,
    UNREADABLE,
    WRITTEN,
    Array,
    Block,
    DamagedStoreError,
    Specs,
    array_offsets,
    block_problem,
    blocks,
    describe_arrays,
    own_array,
)
from xray_hpc.data.private_cache import CacheDeniedError, check_trust
from xray_hpc.file_owner import is_trusted
from xray_hpc.regular_file import open_regular
from xray_hpc.shared_folder import share

PAGE = 4096  # bytes
SYNC_SECONDS = 5.0


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
            self._file, self._offsets = _open_partial(self.partial, specs, key)
        except (FileNotFoundError, PermissionError, DamagedStoreError):
            self.partial.unlink(missing_ok=True)
            _create(self.partial, specs, key)
            self._file, self._offsets = _open_partial(self.partial, specs, key)
        flags = os.pread(self._file, len(self.blocks), self._offsets[WRITTEN])
        written = np.frombuffer(flags, np.uint8) == 1
        self.written = np.array(
            [written[b.number] and self._matches(b) for b in self.blocks], np.bool_
        )
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

    def _matches(self, block: Block) -> bool:
        """Return whether a block matches its checksum, and its numbers are finite."""
        stored = os.pread(self._file, 4, self._offsets[CHECKSUMS] + 4 * block.number)
        return block_problem(self.read(block), np.frombuffer(stored, np.uint32)[0]) is None

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
        with open_regular(_partial(path)) as target:
            check_trust(_partial(path), os.fstat(target.fileno()))
            with h5py.File(target, "r", locking=False) as file:
                return int(own_array(file, WRITTEN)[:].sum())
    except (CacheDeniedError, DamagedStoreError, *UNREADABLE):  # it may be half created
        return 0


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _create(path: Path, specs: Specs, key: str) -> None:
    """Create a store in which no block is written; arrays of a page or more begin at a page."""
    count = len(blocks(specs))
    # Whatever the umask, not everybody may write it: it would not be trusted.
    with _Target(path, "x+b", opener=lambda name, flags: os.open(name, flags, 0o664)) as target:
        share(target.fileno(), path.parent)
        try:
            # Some file systems have no permissions, and let everybody write everything.
            check_trust(path, os.fstat(target.fileno()))
            aligned = {"alignment_threshold": PAGE, "alignment_interval": PAGE}
            with h5py.File(target, "w", locking=False, **aligned) as file:
                file.attrs["key"] = key
                file.attrs["arrays"] = describe_arrays(specs)
                for name, spec in specs.items():
                    _allocate(file, name, spec.shape, spec.dtype)
                _allocate(file, CHECKSUMS, (count,), "uint32")
                file[WRITTEN] = np.zeros(count, np.uint8)
            if target.error is not None:
                raise target.error
        except CacheDeniedError:
            path.unlink()
            raise
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


def _open_partial(path: Path, specs: Specs, key: str) -> tuple[int, dict[str, int]]:
    """Open an unfinished store for writing; return its file descriptor and offsets.

    Raises:
        DamagedStoreError: as :func:`read_arrays`, or the file cannot be trusted.
        OSError: this user cannot open it.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise DamagedStoreError("not a regular file") from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not is_trusted(path, status):
            raise DamagedStoreError("not a regular file of this user or its group")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return descriptor, array_offsets(file, specs, key)
    except BaseException:
        os.close(descriptor)
        raise


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
