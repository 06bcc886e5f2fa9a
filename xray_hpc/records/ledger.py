"""The ledger of a sweep: a write-ahead log of the planned runs and their submissions to Slurm.

One JSON object per line, appended and synced, never rewritten. What comes first is told by the
positions of the lines, in bytes: the clocks of hosts differ. The events:

``{"event": "launched", "time": ..., "user": "...", "host": "..."}``
    a launch is about to start runs; their attempts come after this line, earlier ones before it
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
import io
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xray_hpc.errors import StorageError
from xray_hpc.records.paths import SweepPaths, is_name
from xray_hpc.records.run_record import now
from xray_hpc.regular_file import append_regular, open_regular, read_regular
from xray_hpc.shared_folder import create_file
from xray_hpc.system_errors import STORAGE_ERRORS, advice

# Of a sweep of 10,000 runs it has a few MB.
MAX_BYTES = 1 << 28


def append(sweep: SweepPaths, event: str, **fields: Any) -> None:
    """Append one event, and sync it to disk; raise ``StorageError`` if that fails."""
    line = json.dumps({"event": event, "time": now(), **fields}) + "\n"
    try:
        create_file(sweep.ledger)
        with io.BufferedWriter(append_regular(sweep.ledger)) as handle:
            if handle.tell() and not _ends_a_line(sweep):
                line = "\n" + line
            handle.write(line.encode())
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        problem = f"cannot write to {sweep.ledger} ({error.strerror})"
        raise StorageError(f"{problem}; {advice(error)}, and run again") from error


def _ends_a_line(sweep: SweepPaths) -> bool:
    with open_regular(sweep.ledger) as handle:
        handle.seek(-1, os.SEEK_END)
        return handle.read(1) == b"\n"


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_list(of: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(of, value))


def _is_planned(value: object) -> bool:
    return isinstance(value, dict) and all(
        is_name(name) and _is_list(_is_text)(words) for name, words in value.items()
    )


# The fields that each event needs.
_FIELDS: Mapping[str, Mapping[str, Callable[[object], bool]]] = {
    "launched": {},
    "planned": {"runs": _is_planned},
    "submitting": {"submission": is_name, "kind": _is_text, "tasks": _is_list(_is_list(is_name))},
    "submitted": {"submission": is_name, "job": lambda job: is_name(job) and str(job).isdigit()},
    "refused": {"submission": is_name},
    "waiting": {"runs": _is_list(is_name)},
    "cancelled": {"jobs": _is_list(_is_text), "runs": _is_list(is_name)},
}


def events(sweep: SweepPaths) -> list[Mapping[str, Any]]:
    """Return the events, oldest first; see :func:`read` for what is skipped and raised."""
    return [event for _, event in _located_events(sweep)]


def _located_events(sweep: SweepPaths) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield each event with the position of its line."""
    position = 0
    for line in _content(sweep).split(b"\n"):
        if (event := _parse(line)) is not None:
            yield position, event
        position += len(line) + 1


def _content(sweep: SweepPaths) -> bytes:
    try:
        return read_regular(sweep.ledger, MAX_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:
        problem = f"{sweep.ledger} cannot be read ({error.strerror})"
        fix = "it lists the jobs of the sweep, so restore it"
        if error.errno in STORAGE_ERRORS:  # it is whole
            fix = f"{advice(error)}, and run again"
        raise StorageError(f"{problem}; {fix}") from error


def _parse(line: bytes) -> Mapping[str, Any] | None:
    """Return the event of a line; ``None`` if a crash cut it off, or it is not an event."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    fields = _FIELDS.get(event["event"])
    if fields is None or not all(valid(event.get(name)) for name, valid in fields.items()):
        return None
    return event


def size(sweep: SweepPaths) -> int:
    """Return the size of the ledger in bytes: the position of the next event."""
    try:
        return os.stat(sweep.ledger).st_size
    except FileNotFoundError:
        return 0


@dataclass(frozen=True)
class Submission:
    """A job or array that a launch submitted to Slurm."""

    name: str  # its folder in slurm/
    kind: str  # stage, features, runs or collect
    tasks: list[list[str]]  # the runs of each array task
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
    # The position at which each run was cancelled that was not submitted again since
    cancelled: dict[str, int]

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
    """Return the content of a sweep's ledger; empty if it does not exist.

    A line that a crash cut off, or that is not an event with fields of the right types, is skipped.

    Raises:
        StorageError: the ledger cannot be read, or is lost although jobs were submitted.
    """
    planned: dict[str, list[str]] = {}
    submissions: dict[str, Submission] = {}
    waiting: dict[str, None] = {}
    cancelled: dict[str, int] = {}
    position = None
    for position, event in _located_events(sweep):
        kind, name = event["event"], event.get("submission", "")
        if kind == "planned":
            planned.update(event["runs"])
        elif kind == "submitting":
            user, tasks = str(event.get("user", "")), event["tasks"]
            submissions[name] = Submission(name, event["kind"], tasks, user)
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
            for run in event["runs"]:
                waiting.pop(run, None)
                cancelled[run] = position
    if position is None and sweep.slurm.is_dir():
        lost = f"{sweep.ledger} is lost or damaged, and it lists the jobs of the sweep"
        fix = f"restore it, or remove {sweep.slurm} if none of its jobs is in the queue"
        raise StorageError(f"{lost}; {fix}")
    return Ledger(planned, submissions, list(waiting), cancelled)
