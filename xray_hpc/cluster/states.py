"""Which runs of a sweep still need to run, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xray_hpc.cluster.slurm import QueuedJob
from xray_hpc.errors import UserError
from xray_hpc.runs.files import LockedError, locked, read_json
from xray_hpc.runs.paths import SPLITS, RunPaths
from xray_hpc.runs.record import Status, read_record


@dataclass(frozen=True)
class Decision:
    """Whether to run a run, and the reason in a few words."""

    run: bool
    why: str


def decide(paths: RunPaths, job: str | None, queue: Mapping[str, QueuedJob]) -> Decision:
    """Decide about one run from its record, its lock and the queue.

    ``job`` is the newest id that the run was submitted with by a launch; the record may name
    another, of a template.
    """
    try:
        record = read_record(paths)
    except UserError:
        return Decision(True, "again; its run.json is damaged")
    if record is None:
        return Decision(True, "new")
    if record.status is Status.FINISHED:
        lost = missing_file(paths, record.model)
        return Decision(False, "finished") if lost is None else Decision(True, f"again; {lost}")
    job = next((known for known in (job, record.job_id) if known in queue), None)
    if job is not None:
        state, reason = queue[job].state, queue[job].reason
        waiting = f" ({reason})" if state == "PENDING" else ""
        return Decision(False, f"{state.lower()} as job {job}{waiting}")
    if _held(paths):
        return Decision(False, f"running on {record.node}")
    if record.status is Status.FAILED:
        error = record.error or {"type": "Error", "message": "unknown"}
        return Decision(True, f"again; it failed: {error['type']}: {error['message'][:80]}")
    if record.status is Status.CREATED:
        return Decision(True, "never ran")
    return Decision(True, "again; it was interrupted")


def missing_file(paths: RunPaths, model: str) -> str | None:
    """What a finished run lacks of the files that a report needs, or ``None``."""
    tables = [paths.accuracy(model), paths.loss(model), paths.auc(model)]
    tables += [table(model, split) for split in SPLITS for table in (paths.scores, paths.roc)]
    for path in (*tables, paths.metrics):
        if not path.is_file():
            return f"{path.name} is missing"
    try:
        read_json(paths.metrics)
    except UserError:
        return "its metrics.json is damaged"
    return None


def _held(paths: RunPaths) -> bool:
    try:
        with locked(paths.lock, wait=False):
            return False
    except LockedError:
        return True
