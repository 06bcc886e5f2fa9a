"""The tables that hold every run's lines, put together from those of the last report.

A finished run whose files are still those that the last report was made of is not read again: its
lines are copied, and the rest of it comes from ``.facts.jsonl``, one more such file. The file
``.index.json`` says where which run's lines are. It is of the very files that it was written for,
and of the code that made them: with any others it counts for nothing, and all runs are read.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from xray_hpc.errors import UserError
from xray_hpc.records.atomic_files import atomic_write, read_json, write_text
from xray_hpc.records.paths import RunPaths
from xray_hpc.report.csv_columns import csv_lines
from xray_hpc.report.merged_tables import BY_RUN, lines_of
from xray_hpc.report.process_pool import spread
from xray_hpc.report.read_run import read_run
from xray_hpc.report.run_cache import facts_of, file_version, run_of, signature
from xray_hpc.report.run_result import RunResult

FACTS, INDEX = ".facts.jsonl", ".index.json"
FILES = (*BY_RUN, FACTS)
# Two changes of a file so soon after each other may have the same time: some clocks are coarse.
SETTLED_SECONDS = 2.0
BLOCK = 1 << 20


@dataclass(frozen=True)
class RunSource:
    """A run to read, and what the ledger says of it: see :func:`read_run`."""

    paths: RunPaths
    planned: Sequence[str] = ()
    cancelled: str | None = None


@dataclass(frozen=True)
class Piece:
    """A run without its tables, and its lines of each of ``FILES``.

    ``signature`` is that of the files it was read from, the last of which had ``changed`` then.
    """

    run: RunResult
    lines: Mapping[str, bytes]
    signature: str
    changed: float


def read_piece(asked: RunSource) -> Piece:
    """Read a run folder."""
    signed, changed = signature(asked.paths)  # first: what is changed meanwhile has another
    run = read_run(asked.paths, asked.planned, asked.cancelled)
    lines = lines_of(run) | {FACTS: facts_of(run) or b""}
    return Piece(run.without_tables(), lines, signed, changed)


def merge(
    folder: Path, asked: Sequence[RunSource], when_new: Callable[[], None] = lambda: None
) -> list[RunResult]:
    """Write the tables of these runs, in this order, and give the runs without them.

    The scores of the few runs that are being read are held at a time. ``when_new`` is called as
    soon as a finished run was read that the last report did not have.
    """
    with ExitStack() as stack:
        last = PreviousReport(folder, stack)
        recalled = [last.recall(one.paths) for one in asked]
        missing = [one for one, run in zip(asked, recalled, strict=True) if run is None]
        read = stack.enter_context(closing(spread(read_piece, missing)))
        made = [stack.enter_context(atomic_write(folder / file)) for file in FILES]
        tables = [
            _Table(stack.enter_context(path.open("wb")), last.files.get(file), head_of(file))
            for path, file in zip(made, FILES, strict=True)
        ]
        settled = os.stat(made[0]).st_ctime - SETTLED_SECONDS  # by the file system's clock
        runs, places = [], {}
        for one, run in zip(asked, recalled, strict=True):
            name = one.paths.name
            if run is not None:
                place = last.places[name]
                spans = [table.copy(*s) for table, s in zip(tables, place.spans, strict=True)]
                places[name] = Place(place.signature, spans)
            else:
                piece = next(read)
                run, lines = piece.run, piece.lines
                if run.finished:
                    when_new()
                spans = [
                    table.write(lines[file]) for table, file in zip(tables, FILES, strict=True)
                ]
                if lines[FACTS] and piece.changed < settled:
                    places[name] = Place(piece.signature, spans)
            runs.append(run)
        for table in tables:
            table.end()
    _write_index(folder, places)
    return runs


@dataclass(frozen=True)
class Place:
    """Where a run's lines are: their first byte and the one behind them in each of ``FILES``."""

    signature: str
    spans: Sequence[Sequence[int]]


class PreviousReport:
    """The files of the last report, and ``places``: which of their lines are which run's."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.files: dict[str, BinaryIO] = {}
        self.places: dict[str, Place] = {}
        try:
            index = read_json(folder / INDEX)
            for file in FILES:
                self.files[file] = stack.enter_context((folder / file).open("rb"))
            versions = [file_version(folder / file) for file in FILES]
            if index["code"] == _code() and index["files"] == versions:
                self.places = {name: Place(*place) for name, place in index["runs"].items()}
        except (OSError, UserError, LookupError, TypeError, AttributeError):
            return  # there is none, or none of this code's

    def recall(self, paths: RunPaths) -> RunResult | None:
        """The run without its tables; ``None`` where it has to be read."""
        place = self.places.get(paths.name)
        if place is None or signature(paths)[0] != place.signature:
            return None
        start, end = place.spans[FILES.index(FACTS)]
        try:
            return run_of(os.pread(self.files[FACTS].fileno(), end - start, start))
        except (ValueError, LookupError, TypeError):
            return None


def _write_index(folder: Path, places: Mapping[str, Place]) -> None:
    versions = [file_version(folder / file) for file in FILES]
    runs = {name: [place.signature, place.spans] for name, place in places.items()}
    index = {"code": _code(), "files": versions, "runs": runs}
    write_text(folder / INDEX, json.dumps(index))


@functools.cache
def _code() -> str:
    """A digest of the code that reads runs and makes their lines."""
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


def head_of(file: str) -> bytes:
    """The first line of a table."""
    return csv_lines([name] for name in BY_RUN.get(file, ()))


class _Table:
    """A file that is written of new lines, and of lines of the one that it replaces."""

    def __init__(self, new: BinaryIO, old: BinaryIO | None, head: bytes) -> None:
        self._new = new
        self._old = old
        self._copied = (0, 0)  # what is to be copied before anything else is written
        self._length = 0
        self.write(head)

    def write(self, lines: bytes) -> tuple[int, int]:
        """Add new lines; where they are then."""
        self.end()
        self._new.write(lines)
        return self._grown(len(lines))

    def copy(self, start: int, end: int) -> tuple[int, int]:
        """Add lines of the old file; where they are then."""
        if start != self._copied[1]:
            self.end()
            self._copied = (start, start)
        self._copied = (self._copied[0], end)
        return self._grown(end - start)

    def end(self) -> None:
        """Copy what is to be copied: lines that follow each other there at once."""
        start, end = self._copied
        self._copied = (end, end)
        if start < end and self._old is not None:
            self._old.seek(start)
            while start < end and (block := self._old.read(min(BLOCK, end - start))):
                self._new.write(block)
                start += len(block)
            if start < end:
                raise OSError(errno.EIO, "a table was cut short while it was read", self._old.name)

    def _grown(self, by: int) -> tuple[int, int]:
        self._length += by
        return self._length - by, self._length
