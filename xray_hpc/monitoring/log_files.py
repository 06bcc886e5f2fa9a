"""What a run's processes printed: into its log, and beside it where they died too early."""

from __future__ import annotations

import os
from pathlib import Path

from xray_hpc.records import ledger
from xray_hpc.records.paths import RunPaths

TAIL_BYTES = 1 << 16


class GrowingFile:
    """A file that others append to or make anew; it need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def read_new(self) -> bytes:
        """What was added since it was last asked, at first all of it."""
        try:
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._at:
                    self._at = 0
                file.seek(self._at)
                new = file.read()
        except FileNotFoundError:
            return b""
        self._at += len(new)
        return new


def last_lines(text: bytes, count: int) -> bytes:
    """The last ``count`` lines."""
    return b"".join(text.splitlines(keepends=True)[-count:]) if count else b""


def tail(path: Path, count: int) -> bytes:
    """The last ``count`` lines of a file, if they are of usual length."""
    with path.open("rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - TAIL_BYTES, 0))
        return last_lines(file.read(), count)


def slurm_output(paths: RunPaths) -> Path | None:
    """What the run's newest Slurm job printed outside of the run's log, where it printed any."""
    for submission in reversed(ledger.read(paths.sweep).submissions.values()):
        job = submission.job_ids().get(paths.name)
        if submission.kind == "runs" and submission.job is not None and job is not None:
            files = (paths.sweep.slurm / submission.name).glob(f"{job}_*")
            return next((file for file in sorted(files) if file.stat().st_size), None)
    return None
