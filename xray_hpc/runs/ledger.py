"""The sweep's ledger: which runs were planned, and what was said to Slurm about them.

One JSON object a line, appended and synced, never rewritten. The events:

``{"event": "planned", "time": ..., "runs": {"ft-1a2b3c4d": ["model=ft"], ...}}``
    a launch put these runs into the sweep, with the overrides that made them
``{"event": "submitting", "time": ..., "submission": "...", "runs": [...]}``
    written before ``sbatch`` is called
``{"event": "submitted", "time": ..., "submission": "...", "jobs": {"ft-1a2b3c4d": "17_0", ...}}``
    written after it, with the job id of every run
``{"event": "stage", "time": ..., "job": "16"}``, the same with ``"collect"``
    the job that packs the images before the runs, and the one that compares them after
``{"event": "cancelled", "time": ..., "jobs": ["16"]}``
    jobs that were taken back because Slurm refused one that belongs with them
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from xray_hpc.runs.paths import SweepPaths
from xray_hpc.runs.record import now


def append(sweep: SweepPaths, event: str, **fields: Any) -> None:
    """Append one event and sync it to the disk."""
    line = json.dumps({"event": event, "time": now(), **fields}) + "\n"
    sweep.folder.mkdir(parents=True, exist_ok=True)
    with sweep.ledger.open("ab") as handle:
        if handle.tell() and not _ends_a_line(sweep):
            line = "\n" + line
        handle.write(line.encode())
        handle.flush()
        os.fsync(handle.fileno())


def _ends_a_line(sweep: SweepPaths) -> bool:
    with sweep.ledger.open("rb") as handle:
        handle.seek(-1, os.SEEK_END)
        return handle.read(1) == b"\n"


def events(sweep: SweepPaths) -> Iterator[Mapping[str, Any]]:
    """Read the events, oldest first; a line torn by a crash is passed over."""
    if not sweep.ledger.exists():
        return
    for line in sweep.ledger.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(value, dict) and "event" in value:
            yield value


def planned(sweep: SweepPaths) -> dict[str, list[str]]:
    """Runs ever planned in this sweep with their overrides, in launch order."""
    runs: dict[str, list[str]] = {}
    for event in events(sweep):
        if event["event"] == "planned":
            runs.update(event.get("runs", {}))
    return runs


def expected_runs(sweep: SweepPaths) -> list[str]:
    """Names of the runs ever planned in this sweep, in launch order."""
    return list(planned(sweep))


def jobs(sweep: SweepPaths) -> dict[str, str]:
    """The newest job id of every run that was submitted."""
    newest: dict[str, str] = {}
    for event in events(sweep):
        if event["event"] == "submitted":
            newest.update(event.get("jobs", {}))
    return newest
