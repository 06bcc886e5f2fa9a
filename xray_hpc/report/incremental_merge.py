"""Merge the runs' tables, copying the lines of unchanged runs from the previous report.

``.runs.jsonl`` stores the rest of such a run, ``.index.json`` which lines belong to which run. Both
are valid only for the exact files that they were written with and for unchanged code.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from xray_hpc.errors import UserError
from xray_hpc.records.atomic_files import atomic_write, write_text
from xray_hpc.records.json_record import read_checked_json, with_checksum
from xray_hpc.records.paths import RunPaths
from xray_hpc.regular_file import open_regular
from xray_hpc.report.merged_tables import RUN_TABLES, run_lines
from xray_hpc.report.process_pool import ProcessPool
from xray_hpc.report.read_run import read_run
from xray_hpc.report.run_cache import file_version, folder_signature, run_from_json, run_to_json
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.typed_csv import csv_lines

CACHED_RUNS, INDEX = ".runs.jsonl", ".index.json"
FILES = (*RUN_TABLES, CACHED_RUNS)
# Two changes of a file within the resolution of a file system's clock have the same ctime, so a
# file that changed this recently is not cached.
SETTLING_SECONDS = 2.0
COPY_BLOCK_SIZE = 1 << 20
# The signature of a run's files, and the range [start, end) of its lines in each of FILES.
Location: TypeAlias = tuple[str, Sequence[Sequence[int]]]


@dataclass(frozen=True)
class RunSource:
    """A run folder and the facts of the ledger about it; see :func:`read_run`."""

    paths: RunPaths
    planned: Sequence[str] = ()
    cancelled: int | None = None


@dataclass(frozen=True)
class RunLines:
    """A run without its large tables, and its lines in each of ``FILES``."""

    run: RunResult
    lines: Mapping[str, bytes]
    signature: str  # of the files that were read
    changed: float  # when the newest of them changed


def read_lines(source: RunSource) -> RunLines:
    """Read a run folder and format its lines."""
    # The signature is taken first, so that a change during reading invalidates it.
    signature, changed = folder_signature(source.paths)
    run = read_run(source.paths, source.planned, source.cancelled)
    lines = run_lines(run) | {CACHED_RUNS: run_to_json(run) or b""}
    return RunLines(run.without_tables(), lines, signature, changed)


def merge_runs(
    folder: Path, sources: Sequence[RunSource], on_new_run: Callable[[], None] = lambda: None
) -> list[RunResult]:
    """Write the merged tables to the report's ``folder``; return the runs without their tables.

    Only the scores of the few runs that are being read are in memory at a time. ``on_new_run`` is
    called when a finished run was read that the previous report did not have.
    """
    with ExitStack() as stack:
        previous = PreviousReport(folder, stack)
        cached = [previous.load(source.paths) for source in sources]
        uncached = [source for source, run in zip(sources, cached, strict=True) if run is None]
        paths = [stack.enter_context(atomic_write(folder / file)) for file in FILES]
        opened = [stack.enter_context(path.open("wb")) for path in paths]
        tables = [
            _TableWriter(new, previous.files.get(file), _table_head(file))
            for new, file in zip(opened, FILES, strict=True)
        ]
        settled = os.stat(paths[0]).st_ctime - SETTLING_SECONDS  # by the file system's clock
        read = stack.enter_context(ProcessPool(read_lines)).map(uncached)
        runs: list[RunResult] = []
        locations: dict[str, Location] = {}
        for source, run in zip(sources, cached, strict=True):
            name = source.paths.name
            if run is not None:
                signature, old = previous.locations[name]
                spans = [table.copy(*span) for table, span in zip(tables, old, strict=True)]
                locations[name] = (signature, spans)
            else:
                new = next(read)
                run = new.run
                if run.finished:
                    on_new_run()
                lines = [new.lines[file] for file in FILES]
                spans = [table.write(text) for table, text in zip(tables, lines, strict=True)]
                if new.lines[CACHED_RUNS] and new.changed < settled:
                    locations[name] = (new.signature, spans)
            runs.append(run)
        for table in tables:
            table.flush()
    versions = [file_version(folder / file) for file in FILES]
    index = {"code": _code_digest(), "files": versions, "runs": locations}
    write_text(folder / INDEX, with_checksum(index))
    return runs


class PreviousReport:
    """The files of the previous report, and the locations of each run's lines in them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.files: dict[str, BinaryIO] = {}
        self.locations: dict[str, Location] = {}
        try:
            index = read_checked_json(folder / INDEX)
            for file in FILES:
                self.files[file] = stack.enter_context(open_regular(folder / file))
            versions = [file_version(folder / file) for file in FILES]
            if index["code"] == _code_digest() and index["files"] == versions:
                self.locations = {
                    name: (key, spans) for name, (key, spans) in index["runs"].items()
                }
        except (OSError, UserError, LookupError, TypeError, ValueError, AttributeError):
            return  # there is no report, or one of other code

    def load(self, paths: RunPaths) -> RunResult | None:
        """Return the run without its large tables, or ``None`` if it must be read again."""
        signature, spans = self.locations.get(paths.name, ("", ()))
        if not spans or folder_signature(paths)[0] != signature:
            return None
        start, end = spans[FILES.index(CACHED_RUNS)]
        try:
            return run_from_json(os.pread(self.files[CACHED_RUNS].fileno(), end - start, start))
        except (ValueError, LookupError, TypeError):
            return None


@functools.cache
def _code_digest() -> str:
    """Return a digest of the code that reads runs and formats their lines."""
    package = Path(__file__).parents[1]
    patterns = ("*.py", "report/*.py", "records/*.py", "config/*.py", "monitoring/run_state.py")
    files = sorted(file for pattern in patterns for file in package.glob(pattern))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _table_head(file: str) -> bytes:
    return csv_lines([name] for name in RUN_TABLES.get(file, ()))


class _TableWriter:
    """Writes a table from new lines and from lines of the table that it replaces."""

    def __init__(self, new: BinaryIO, old: BinaryIO | None, head: bytes) -> None:
        self._new = new
        self._old = old
        self._pending = (0, 0)  # range of the old file to copy before anything else is written
        self._length = 0
        self.write(head)

    def write(self, lines: bytes) -> tuple[int, int]:
        """Append new lines; return their byte range."""
        self.flush()
        self._new.write(lines)
        return self._advance(len(lines))

    def copy(self, start: int, end: int) -> tuple[int, int]:
        """Append a range of the old file; return its range in the new file."""
        if start != self._pending[1]:
            self.flush()
            self._pending = (start, start)
        self._pending = (self._pending[0], end)
        return self._advance(end - start)

    def flush(self) -> None:
        """Copy the pending range; adjacent ranges are copied at once."""
        start, end = self._pending
        self._pending = (end, end)
        if start < end and self._old is not None:
            self._old.seek(start)
            while start < end and (block := self._old.read(min(COPY_BLOCK_SIZE, end - start))):
                self._new.write(block)
                start += len(block)
            if start < end:
                raise OSError(errno.EIO, "the file was truncated while being read", self._old.name)

    def _advance(self, length: int) -> tuple[int, int]:
        self._length += length
        return self._length - length, self._length
