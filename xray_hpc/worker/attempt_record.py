"""Tries of runs in their records: begun, ended, explained."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from xray_hpc.config.cluster_config import Action, ClusterConfig
from xray_hpc.errors import DataError
from xray_hpc.records.atomic_files import is_storage_failure
from xray_hpc.records.code_state import git_state
from xray_hpc.records.lease import Lease
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_progress import latest_checkpoint, read_feature_blocks, read_progress
from xray_hpc.records.run_record import (
    Attempt,
    Failure,
    RunRecord,
    Status,
    now,
    read_record,
    write_record,
)
from xray_hpc.worker.failure_policy import FailureDecision, decide
from xray_hpc.worker.slurm_job import Job

T = TypeVar("T")

# How long a file system may be away, or full, as a try ends; not where it says that it stays so.
PATIENCE_SECONDS = 60.0
RETRY_SECONDS = 2.0
LASTING = frozenset({errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENOENT, errno.ENOTDIR})

# The run was stopped by something outside of it, and goes on from where it is.
INTERRUPTIONS = frozenset(
    {Failure.TIME_LIMIT, Failure.PREEMPTED, Failure.NODE_FAILURE, Failure.CANCELLED}
)


@dataclass(frozen=True)
class AttemptOutcome:
    """How the work on one run ended: ``code`` is what the job would exit with for it alone.

    ``decision`` is what to do about the run, ``None`` where there is nothing to do, or nothing that
    is this process's to do; ``began`` whether the record has a try of this job's that ended.
    """

    paths: RunPaths
    code: int
    failure: Failure | None = None
    decision: FailureDecision | None = None
    began: bool = False

    @property
    def action(self) -> Action | None:
        """What to do about the run, in one word."""
        return self.decision.action if self.decision else None


def existing_record(paths: RunPaths) -> RunRecord:
    """The run's record; ``UserError`` where there is none."""
    record = read_record(paths)
    if record is None:
        raise DataError(f"{paths.record} is missing; launch the sweep again")
    return record


def node_name(job: Job | None) -> str:
    """The node as Slurm names it, else this host."""
    return job.node if job else os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def unseen(record: RunRecord) -> bool:
    """Whether nobody saw the run's last try end; or it has not ended."""
    return (
        bool(record.attempts)
        and record.attempts[-1].ended is None
        and not record.attempts[-1].failure
    )


def begin(paths: RunPaths, record: RunRecord, job: Job | None) -> None:
    """Write that a try of the run begins; one that nobody saw end is explained."""
    if unseen(record):
        # Nobody saw it end. Slurm put the job back itself, or somebody launched the run again.
        put_back = job is not None and record.attempts[-1].job_id == job.id
        failure = Failure.NODE_FAILURE if put_back else Failure.KILLED
        record = ended_attempt(paths, record, failure, ended=None, requeued=put_back)
    begun = Attempt(
        started=now(),
        node=node_name(job),
        job_id=job.id if job else None,
        queued=_queued(record, job) if job else None,
        gpus=(job.gpus or 0) if job else 0,
        cpus=job.cpus if job else None,
        memory=job.memory if job else None,
        time_limit=job.time_limit if job else None,
        restarts=job.restarts if job else 0,
    )
    jobs = [known for known in record.job_ids if known != begun.job_id]
    record = dataclasses.replace(
        record,
        status=Status.RUNNING,
        started=begun.started,
        ended=None,
        seconds=None,
        error=None,
        failure=None,
        node=begun.node,
        job_id=begun.job_id,
        job_ids=[*jobs, begun.job_id] if begun.job_id else record.job_ids,
        git=git_state() or record.git,
        restarts=len(record.attempts),
        attempts=[*record.attempts, begun],
    )
    write_record(paths, record)


def _queued(record: RunRecord, job: Job) -> str | None:
    """Since when the job waited; one that was put back may keep the time of its submission."""
    last = record.attempts[-1] if record.attempts else None
    if last is None or last.job_id != job.id or last.ended is None or job.submitted is None:
        return job.submitted
    return max(job.submitted, last.ended)


def ended_attempt(
    paths: RunPaths, record: RunRecord, failure: Failure | None, **changes: Any
) -> RunRecord:
    """The record with its last try ended."""
    progress = read_progress(paths)
    name = failure.value if failure else None
    known = {
        "ended": now(),
        "failure": name,
        "epochs": progress.done if progress else None,
        "checkpoint": latest_checkpoint(paths),
        "feature_blocks": read_feature_blocks(paths),
    }
    return _last_attempt(record, **known | changes)


def _last_attempt(record: RunRecord, **changes: Any) -> RunRecord:
    *before, last = record.attempts
    return dataclasses.replace(record, attempts=[*before, dataclasses.replace(last, **changes)])


def mark_requeued(paths: RunPaths, requeued: bool) -> None:
    """Write whether the run goes on in a try that follows by itself."""
    write_record(paths, _last_attempt(existing_record(paths), requeued=requeued))


def conclude(
    paths: RunPaths,
    code: int,
    failure: Failure,
    cluster: ClusterConfig,
    lease: Lease,
    *,
    error: dict[str, str] | None = None,
    used: dict[str, Any] | None = None,
    what: str = "the training process",
) -> AttemptOutcome:
    """Write how the run's last try ended, and decide what to do about it.

    Where it could not say so itself (``error``), ``what`` ended with ``code``.
    A file system that does not take it is asked again for a while, unless ``lease`` is lost.
    """
    old = _patiently(paths, lease, lambda: existing_record(paths))
    record = ended_attempt(paths, old, failure, **used or {})
    node = record.attempts[-1].node
    bad = failure is Failure.NODE_FAILURE and node not in record.bad_nodes
    record = dataclasses.replace(
        record,
        status=Status.INTERRUPTED if failure in INTERRUPTIONS else Status.FAILED,
        ended=now(),
        failure=failure.value,
        error=error or explain(failure, code, record.attempts[-1], what),
        bad_nodes=[*record.bad_nodes, node] if bad else record.bad_nodes,
    )
    _patiently(paths, lease, lambda: write_record(paths, record))
    decision = decide(cluster.on_failure, failure, record)
    return AttemptOutcome(paths, exit_code(code), failure, decision, began=True)


def _patiently(paths: RunPaths, lease: Lease, action: Callable[[], T]) -> T:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return action()
        except OSError as error:
            passing = is_storage_failure(paths.folder, error) and error.errno not in LASTING
            if not passing or time.monotonic() > end or lease.lost:
                raise
        time.sleep(RETRY_SECONDS)


def exit_code(code: int) -> int:
    """A child's exit code as the shell has it; 1 for a child that says 0 and did not finish."""
    return 128 - code if code < 0 else code or 1


def explain(failure: Failure, code: int, item: Attempt, what: str) -> dict[str, str]:
    """Why the child ended, where it could not say so itself."""
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    reasons = {
        Failure.TIME_LIMIT: f"its time limit (cluster.time) was near: {name}",
        Failure.PREEMPTED: f"Slurm took its node for another job: {name}",
        Failure.NODE_FAILURE: f"Slurm lost its node, {item.node}: {name}",
        Failure.CANCELLED: f"it was told to end by {name}",
    }
    if failure in reasons:
        return {"type": "Interrupted", "message": reasons[failure]}
    if failure is Failure.OUT_OF_MEMORY:
        had = f"; its job had {item.memory} MiB" if item.memory else ""
        return {"type": "Killed", "message": f"the kernel killed it for want of memory{had}"}
    if code >= 0:
        return {"type": "Exit", "message": f"{what} ended with {name}"}
    hint = "; out of memory is the usual cause" if name == "SIGKILL" else ""
    return {"type": "Killed", "message": f"{what} was killed by {name}{hint}"}
