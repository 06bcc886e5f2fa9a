"""The sweep's ledger: which runs were planned, and what was said to Slurm about them.

One JSON object a line, appended and synced, never rewritten. The events:

``{"event": "planned", "time": ..., "runs": {"ft-1a2b3c4d": ["model=ft"], ...}}``
    a launch put these runs into the sweep, with the overrides that made them
``{"event": "submitting", "time": ..., "submission": "...", "kind": "runs", "tasks": [[...], ...],
"user": "..."}``
    written before ``sbatch`` is called; ``submission`` is the folder below ``slurm/`` with the
    batch script, ``kind`` is ``stage``, ``features``, ``runs`` or ``collect``, and ``tasks`` are
    the runs that each task of the array works through (of one task: a job that is no array)
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
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_record import now


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


@dataclass(frozen=True)
class JobRef:
    """A job that works on a run: its ``id`` as ``squeue`` writes it, and the submission's name.

    An id alone says little: Slurm gives it again when it starts anew, and another cluster has
    its own.
    """

    id: str
    submission: str


@dataclass(frozen=True)
class Ledger:
    """What a ledger says by now.

    ``planned`` are the runs ever planned with their overrides, in launch order; ``submissions``
    what was asked of Slurm and not refused, by name, oldest first; ``waiting`` the runs that wait
    to be submitted when others have ended, in launch order; ``cancelled`` when the runs that were
    cancelled, and not submitted again since, were cancelled.
    """

    planned: dict[str, list[str]]
    submissions: dict[str, Submission]
    waiting: list[str]
    cancelled: dict[str, str]

    def jobs(self) -> dict[str, JobRef]:
        """The newest job of every run that was submitted."""
        return {
            run: JobRef(job, found.name)
            for found in self.submissions.values()
            if found.kind == "runs" and found.job is not None
            for run, job in found.job_ids().items()
        }

    def users(self) -> set[str]:
        """Who submitted jobs of this sweep."""
        return {found.user for found in self.submissions.values()} - {""}


def read(sweep: SweepPaths) -> Ledger:
    """Read a sweep's ledger; an empty one where there is none."""
    planned: dict[str, list[str]] = {}
    submissions: dict[str, Submission] = {}
    waiting: dict[str, None] = {}
    cancelled: dict[str, str] = {}
    for event in events(sweep):
        kind, name = event["event"], event.get("submission", "")
        if kind == "planned":
            planned.update(event.get("runs", {}))
        elif kind == "submitting":
            when, who, tasks = event["time"], event.get("user", ""), event["tasks"]
            submissions[name] = Submission(name, event["kind"], tasks, when, who)
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


def planned(sweep: SweepPaths) -> dict[str, list[str]]:
    """Runs ever planned in this sweep with their overrides, in launch order."""
    return read(sweep).planned


def expected_runs(sweep: SweepPaths) -> list[str]:
    """Names of the runs ever planned in this sweep, in launch order."""
    return list(planned(sweep))


def submissions(sweep: SweepPaths) -> dict[str, Submission]:
    """What was asked of Slurm and not refused, oldest first, by name."""
    return read(sweep).submissions


def waiting(sweep: SweepPaths) -> list[str]:
    """Runs that wait to be submitted when others have ended, in launch order."""
    return read(sweep).waiting
