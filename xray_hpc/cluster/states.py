"""Which runs of a sweep still need to run, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xray_hpc.cluster.slurm import QueuedJob
from xray_hpc.runs.files import LockedError, locked
from xray_hpc.runs.paths import RunPaths
from xray_hpc.runs.record import Status, read_record


@dataclass(frozen=True)
class Decision:
    """Whether to run a run, and the reason in a few words."""

    run: bool
    why: str


def decide(paths: RunPaths, job: str | None, queue: Mapping[str, QueuedJob]) -> Decision:
    """Decide about one run from its record, its lock and the queue.

    ``job`` is the newest id that the run was submitted with.
    """
    record = read_record(paths)
    if record is None:
        return Decision(True, "new")
    if record.status is Status.FINISHED:
        return Decision(False, "finished")
    if job is not None and job in queue:
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


def _held(paths: RunPaths) -> bool:
    try:
        with locked(paths.lock, wait=False):
            return False
    except LockedError:
        return True
