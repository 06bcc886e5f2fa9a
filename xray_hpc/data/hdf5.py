"""HDF5 files on a disk that may fill up."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

PAGE = 4096  # bytes


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
