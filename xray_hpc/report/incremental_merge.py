"""Merge the runs' tables, copying the lines of unchanged runs from the previous report.

A finished run whose files have not changed since the previous report is not read again. Its lines
are copied from the previous tables, and everything else is loaded from ``.facts.jsonl``.
``.index.json`` stores which lines belong to which run. The index is valid only for the exact files
that it was written with and for unchanged code; otherwise all runs are read.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from xray_hpc.errors import UserError
from xray_hpc.records.atomic_files import atomic_write, read_json, write_text
from xray_hpc.records.paths import RunPaths
from xray_hpc.report.csv_columns import csv_lines
from xray_hpc.report.merged_tables import RUN_TABLES, run_lines
from xray_hpc.report.process_pool import ProcessPool
from xray_hpc.report.read_run import read_run
from xray_hpc.report.run_cache import file_version, folder_signature, run_from_json, run_to_json
from xray_hpc.report.run_result import RunResult

CACHED_RUNS, INDEX = ".facts.jsonl", ".index.json"
FILES = (*RUN_TABLES, CACHED_RUNS)
# Two changes of a file within the resolution of a file system's clock have the same ctime, so a
# file that changed this recently is not cached.
SETTLING_SECONDS = 2.0
COPY_BLOCK_SIZE = 1 << 20


@dataclass(frozen=True)
class RunSource:
    """A run folder and the facts of the ledger about it; see :func:`read_run`."""

    paths: RunPaths
    planned: Sequence[str] = ()
    cancelled: str | None = None


@dataclass(frozen=True)
class RunLines:
    """A run without its large tables, and its lines in each of ``FILES``.

    ``signature`` identifies the files that were read, the newest of which changed at ``changed``.
    """

    run: RunResult
    lines: Mapping[str, bytes]
    signature: str
    changed: float


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
    """Write the merged tables of the runs to ``folder``, in the given order.

    Only the scores of the few runs that are being read are in memory at a time.

    Args:
        folder: the report's folder.
        sources: the runs.
        on_new_run: called when a finished run was read that the previous report did not have.

    Returns:
        The runs without their large tables.
    """
    with ExitStack() as stack:
        previous = PreviousReport(folder, stack)
        cached = [previous.load(source.paths) for source in sources]
        uncached = [source for source, run in zip(sources, cached, strict=True) if run is None]
        paths = [stack.enter_context(atomic_write(folder / file)) for file in FILES]
        tables = [
            _TableWriter(
                stack.enter_context(path.open("wb")), previous.files.get(file), table_head(file)
            )
            for path, file in zip(paths, FILES, strict=True)
        ]
        settled = os.stat(paths[0]).st_ctime - SETTLING_SECONDS  # by the file system's clock
        read = stack.enter_context(ProcessPool(read_lines)).map(uncached)
        runs, locations = [], {}
        for source, run in zip(sources, cached, strict=True):
            name = source.paths.name
            if run is not None:
                location = previous.locations[name]
                spans = [
                    table.copy(*span) for table, span in zip(tables, location.spans, strict=True)
                ]
                locations[name] = LineLocation(location.signature, spans)
            else:
                new = next(read)
                run = new.run
                if run.finished:
                    on_new_run()
                spans = [
                    table.write(new.lines[file]) for table, file in zip(tables, FILES, strict=True)
                ]
                if new.lines[CACHED_RUNS] and new.changed < settled:
                    locations[name] = LineLocation(new.signature, spans)
            runs.append(run)
        for table in tables:
            table.flush()
    _write_index(folder, locations)
    return runs


@dataclass(frozen=True)
class LineLocation:
    """The byte range ``[start, end)`` of a run's lines in each of ``FILES``."""

    signature: str
    spans: Sequence[Sequence[int]]


class PreviousReport:
    """The files of the previous report, and the locations of each run's lines in them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.files: dict[str, BinaryIO] = {}
        self.locations: dict[str, LineLocation] = {}
        try:
            index = read_json(folder / INDEX)
            for file in FILES:
                self.files[file] = stack.enter_context((folder / file).open("rb"))
            versions = [file_version(folder / file) for file in FILES]
            if index["code"] == _code_digest() and index["files"] == versions:
                self.locations = {
                    name: LineLocation(*location) for name, location in index["runs"].items()
                }
        except (OSError, UserError, LookupError, TypeError, AttributeError):
            return  # there is no report, or one of other code

    def load(self, paths: RunPaths) -> RunResult | None:
        """Return the run without its large tables, or ``None`` if it must be read again."""
        location = self.locations.get(paths.name)
        if location is None or folder_signature(paths)[0] != location.signature:
            return None
        start, end = location.spans[FILES.index(CACHED_RUNS)]
        try:
            return run_from_json(os.pread(self.files[CACHED_RUNS].fileno(), end - start, start))
        except (ValueError, LookupError, TypeError):
            return None


def _write_index(folder: Path, locations: Mapping[str, LineLocation]) -> None:
    versions = [file_version(folder / file) for file in FILES]
    runs = {name: [location.signature, location.spans] for name, location in locations.items()}
    index = {"code": _code_digest(), "files": versions, "runs": runs}
    write_text(folder / INDEX, json.dumps(index))


@functools.cache
def _code_digest() -> str:
    """Return a digest of the code that reads runs and formats their lines."""
    package = Path(__file__).parents[1]
    files = sorted(
        (
            *package.glob("*.py"),
            *package.glob("report/*.py"),
            *package.glob("records/*.py"),
            *package.glob("config/*.py"),
            package / "monitoring" / "run_state.py",
        )
    )
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def table_head(file: str) -> bytes:
    """Return the header line of a table."""
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
