"""The log of a run, and the output of its Slurm job outside of the log."""

from __future__ import annotations

import os
from pathlib import Path

from xray_hpc.records import ledger
from xray_hpc.records.paths import RunPaths
from xray_hpc.regular_file import open_regular

TAIL_BYTES = 1 << 16


class GrowingFile:
    """A file that other processes append to or replace; it need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read_new(self) -> bytes:
        """Return what was added since the last call, at first everything."""
        try:
            with open_regular(self._path) as file:
                if os.fstat(file.fileno()).st_size < self._offset:
                    self._offset = 0
                file.seek(self._offset)
                new = file.read()
        except FileNotFoundError:
            return b""
        self._offset += len(new)
        return new


def last_lines(text: bytes, count: int) -> bytes:
    """Return the last ``count`` lines."""
    return b"".join(text.splitlines(keepends=True)[-count:]) if count else b""


def tail(path: Path, count: int) -> bytes:
    """Return the last ``count`` lines of a file, from its last ``TAIL_BYTES``."""
    with open_regular(path) as file:
        file.seek(max(os.fstat(file.fileno()).st_size - TAIL_BYTES, 0))
        return last_lines(file.read(), count)


def slurm_output(paths: RunPaths) -> Path | None:
    """Return the output file of the run's latest Slurm job, if it is not empty."""
    for submission in reversed(ledger.read(paths.sweep).submissions.values()):
        job = submission.job_ids().get(paths.name)
        if submission.kind == "runs" and submission.job is not None and job is not None:
            files = (paths.sweep.slurm / submission.name).glob(f"{job}_*")
            return next((file for file in sorted(files) if file.stat().st_size), None)
    return None
