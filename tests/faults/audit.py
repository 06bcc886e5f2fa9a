"""The audit of a run: which process trained which epoch, and when.

It is independent of the run's own record: the fake training appends a line when an epoch begins and
one when it ends.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

AuditLine = dict[str, Any]


class Audit:
    """The audit files of a sweep, one for each run, which is named by its seed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, seed: int, **fields: Any) -> None:
        """Append a line, with this process and other live ones that have trained the run."""
        pid = os.getpid()
        earlier = {
            (line["pid"], line["process_start"]) for line in self.read(seed) if line["pid"] != pid
        }
        others = [other for other, start in earlier if process_start(other) == start]
        line = fields | {"pid": pid, "process_start": process_start(pid), "others": others}
        line |= {"job": os.environ.get("SLURM_JOB_ID"), "time": time.time()}
        with self._file(seed).open("a") as file:
            file.write(json.dumps(line) + "\n")  # in one write, so that lines stay whole

    def read(self, seed: int) -> list[AuditLine]:
        """Return the lines of the run, oldest first."""
        file = self._file(seed)
        return list(map(json.loads, file.read_text().splitlines())) if file.exists() else []

    def _file(self, seed: int) -> Path:
        return self._folder / f"{seed}.audit"


def process_start(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; ``None`` if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])
