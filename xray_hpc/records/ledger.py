"""The ledger of a sweep: a write-ahead log of the planned runs and their submissions to Slurm.

One JSON object per line, appended and synced, never rewritten. The events:

``{"event": "planned", "time": ..., "runs": {"ft-1a2b3c4d": ["model=ft"], ...}}``
    a launch added these runs to the sweep, with their overrides
``{"event": "submitting", "time": ..., "submission": "...", "kind": "runs", "tasks": [[...], ...],
"user": "..."}``
    written before ``sbatch`` is called: ``submission`` is the folder in ``slurm/`` with the batch
    script, ``kind`` is ``stage``, ``features``, ``runs`` or ``collect``, and ``tasks`` lists
    the runs of each array task (a single task is a job without an array)
``{"event": "submitted", "time": ..., "submission": "...", "job": "17"}``
    ``sbatch`` accepted it, with the id of the job or array
``{"event": "refused", "time": ..., "submission": "...", "reason": "..."}``
    ``sbatch`` refused it, with its error message
``{"event": "waiting", "time": ..., "runs": ["ft-1a2b3c4d", ...]}``
    runs beyond Slurm's job limits; the collect job submits them later
``{"event": "cancelled", "time": ..., "jobs": ["17_0"], "runs": ["ft-1a2b3c4d"]}``
    cancelled jobs and their runs
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_record import now


def append(sweep: SweepPaths, event: str, **fields: Any) -> None:
    """Append one event, and sync it to disk."""
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
    """Yield the events, oldest first; skip a line that a crash cut off."""
    if not sweep.ledger.exists():
        return
    for line in sweep.ledger.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(value, dict) and "event" in value:
            yield value


@dataclass(frozen=True)
class Submission:
    """A job or array that a launch submitted to Slurm."""

    name: str  # its folder in slurm/
    kind: str  # stage, features, runs or collect
    tasks: list[list[str]]  # the runs of each array task
    time: str = ""  # when sbatch was called, in UTC
    user: str = ""  # who called it
    job: str | None = None  # None while it is unknown whether Slurm accepted it

    def job_ids(self) -> dict[str, str]:
        """Return the job id of each run, as ``squeue`` prints it (``17``, in an array ``17_3``)."""
        array = len(self.tasks) > 1
        return {
            run: f"{self.job}_{index}" if array else str(self.job)
            for index, runs in enumerate(self.tasks)
            for run in runs
        }


@dataclass(frozen=True)
class JobRef:
    """The job of a run: its ``id`` as ``squeue`` prints it, and the name of its submission.

    The id alone is ambiguous: Slurm reuses ids after a reset, and every cluster has its own.
    """

    id: str
    submission: str


@dataclass(frozen=True)
class Ledger:
    """The current content of a ledger."""

    planned: dict[str, list[str]]  # overrides of every run ever planned, in launch order
    submissions: dict[str, Submission]  # those that Slurm did not refuse, by name, oldest first
    waiting: list[str]  # runs to submit once other runs have ended, in launch order
    cancelled: dict[str, str]  # when each run was cancelled that was not submitted again since

    def jobs(self) -> dict[str, JobRef]:
        """Return the latest job of every submitted run."""
        return {
            run: JobRef(job, submission.name)
            for submission in self.submissions.values()
            if submission.kind == "runs" and submission.job is not None
            for run, job in submission.job_ids().items()
        }

    def users(self) -> set[str]:
        """Return the users who submitted jobs of this sweep."""
        return {submission.user for submission in self.submissions.values()} - {""}


def read(sweep: SweepPaths) -> Ledger:
    """Return the content of a sweep's ledger; empty if it does not exist."""
    planned: dict[str, list[str]] = {}
    submissions: dict[str, Submission] = {}
    waiting: dict[str, None] = {}
    cancelled: dict[str, str] = {}
    for event in events(sweep):
        kind, name = event["event"], event.get("submission", "")
        if kind == "planned":
            planned.update(event.get("runs", {}))
        elif kind == "submitting":
            tasks = event["tasks"]
            submissions[name] = Submission(
                name, event["kind"], tasks, event["time"], event.get("user", "")
            )
            for run in itertools.chain.from_iterable(tasks):
                waiting.pop(run, None)
                cancelled.pop(run, None)
        elif kind == "submitted" and name in submissions:
            submissions[name] = dataclasses.replace(submissions[name], job=event["job"])
        elif kind == "refused":
            submissions.pop(name, None)
        elif kind == "waiting":
            waiting |= dict.fromkeys(event["runs"])
        elif kind == "cancelled":
            for run in event.get("runs", ()):
                waiting.pop(run, None)
                cancelled[run] = event["time"]
    return Ledger(planned, submissions, list(waiting), cancelled)
