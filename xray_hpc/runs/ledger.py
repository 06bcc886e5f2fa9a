"""The sweep's ledger: which runs were planned, and what was said to Slurm about them.

One JSON object a line, appended and synced, never rewritten. The events:

``{"event": "planned", "time": ..., "runs": {"ft-1a2b3c4d": ["model=ft"], ...}}``
    a launch put these runs into the sweep, with the overrides that made them
``{"event": "submitting", "time": ..., "submission": "...", "kind": "runs", "tasks": [[...], ...],
"user": "..."}``
    written before ``sbatch`` is called; ``submission`` is the folder below ``slurm/`` with the
    batch script, ``kind`` is ``stage``, ``runs`` or ``collect``, and ``tasks`` are the runs that
    each task of the array works through (of one task: a job that is no array)
``{"event": "submitted", "time": ..., "submission": "...", "job": "17"}``
    written after it, with the id of the job or array
``{"event": "refused", "time": ..., "submission": "...", "why": "..."}``
    or with what ``sbatch`` said instead
``{"event": "waiting", "time": ..., "runs": ["ft-1a2b3c4d", ...]}``
    runs for which Slurm had no room; the job that collects the others submits them
``{"event": "cancelled", "time": ..., "jobs": ["17_0"], "runs": ["ft-1a2b3c4d"]}``
    jobs that were taken back, and the runs that they would have worked on
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Submission:
    """What was asked of Slurm; ``job`` is ``None`` until it is known that Slurm took it.

    ``time`` is when it was asked, ``user`` who did.
    """

    name: str
    kind: str
    tasks: list[list[str]]
    time: str = ""
    user: str = ""
    job: str | None = None

    def job_ids(self) -> dict[str, str]:
        """Each run's job id as ``squeue`` writes it, ``17`` or ``17_3``."""
        array = len(self.tasks) > 1
        return {
            run: f"{self.job}_{index}" if array else str(self.job)
            for index, runs in enumerate(self.tasks)
            for run in runs
        }


def submissions(sweep: SweepPaths) -> dict[str, Submission]:
    """What was asked of Slurm and not refused, oldest first, by name."""
    found: dict[str, Submission] = {}
    for event in events(sweep):
        name = event.get("submission", "")
        if event["event"] == "submitting":
            when, who = event["time"], event.get("user", "")
            found[name] = Submission(name, event["kind"], event["tasks"], when, who)
        elif event["event"] == "submitted" and name in found:
            found[name] = dataclasses.replace(found[name], job=event["job"])
        elif event["event"] == "refused":
            found.pop(name, None)
    return found


def users(sweep: SweepPaths) -> set[str]:
    """Who submitted jobs of this sweep."""
    return {found.user for found in submissions(sweep).values()} - {""}


def jobs(sweep: SweepPaths) -> dict[str, str]:
    """The newest job id of every run that was submitted, ``17`` or ``17_3``."""
    newest: dict[str, str] = {}
    for submission in submissions(sweep).values():
        if submission.kind == "runs" and submission.job is not None:
            newest.update(submission.job_ids())
    return newest


def waiting(sweep: SweepPaths) -> list[str]:
    """Runs that wait to be submitted when others have ended, in launch order."""
    left: dict[str, None] = {}
    for event in events(sweep):
        if event["event"] == "waiting":
            left.update(dict.fromkeys(event["runs"]))
        elif event["event"] == "cancelled":
            left = {run: None for run in left if run not in event["runs"]}
        elif event["event"] == "submitting":
            submitted = {run for runs in event["tasks"] for run in runs}
            left = {run: None for run in left if run not in submitted}
    return list(left)
