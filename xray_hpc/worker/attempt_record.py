"""The attempts in ``run.json``: when one starts, how it ends, and why."""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.errors import DataError, UserError
from xray_hpc.records import exit_codes, ledger
from xray_hpc.records.atomic_files import is_error_in, is_gone, is_storage_failure
from xray_hpc.records.code_state import git_state
from xray_hpc.records.lease import Lease
from xray_hpc.records.paths import RunPaths, missing_folder
from xray_hpc.records.run_progress import latest_checkpoint, read_feature_blocks, read_progress
from xray_hpc.records.run_record import (
    Attempt,
    ErrorInfo,
    Failure,
    RunRecord,
    Status,
    now,
    read_record,
    write_record,
)
from xray_hpc.system_errors import advice
from xray_hpc.worker.failure_policy import INTERRUPTIONS, FailureDecision, decide
from xray_hpc.worker.slurm_job import SlurmJob

T = TypeVar("T")

logger = logging.getLogger(__name__)

# How long a file system may be full or unreachable at the end of an attempt, unless its error is
# one that does not pass.
STORAGE_PATIENCE_SECONDS = 60.0
RETRY_SECONDS = 2.0
# What usually kills a process with these signals.
CAUSES = {
    "SIGKILL": "; out of memory is the usual cause",
    "SIGBUS": "; the disk of the cache failed, or a file there was cut while it was in use",
}
PERMANENT_ERRORS = frozenset({errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENOENT, errno.ENOTDIR})


@dataclass(frozen=True)
class AttemptOutcome:
    """How a job's work on one run ended.

    ``failure`` and ``decision`` are ``None`` if the run is finished, or if there is nothing for
    this process to decide.
    """

    paths: RunPaths
    code: int  # what the job would exit with if this were its only run
    failure: Failure | None = None
    decision: FailureDecision | None = None
    has_attempt: bool = False  # whether run.json has an attempt of this job, which has ended


def require_record(paths: RunPaths) -> RunRecord:
    """Return the record of the run; raise ``DataError`` if there is none."""
    record = read_record(paths)
    if record is None:
        raise DataError(f"{paths.record} is missing; launch the sweep again")
    return record


def valid_record(paths: RunPaths) -> RunRecord | None:
    """Return the record of the run; ``None`` if it is missing, invalid or unreadable."""
    try:
        return read_record(paths)
    except (UserError, OSError):  # reported by the attempt at the run
        return None


def log_unwritable_folder(paths: RunPaths, error: OSError) -> None:
    """Log that the run's folder cannot be used, if ``error`` says that; else raise it."""
    if not is_storage_failure(paths.folder, error) and not is_error_in(paths.folder, error):
        raise error
    if is_gone(paths.folder):
        logger.error(missing_folder(paths))
        return
    if is_storage_failure(paths.folder, error):
        problem = f"cannot write to {paths.folder}: {error.strerror}"
    else:
        problem = f"cannot use {error.filename}: {error.strerror}"
    logger.error(f"{problem}; {advice(error)}, and launch again")


def node_name(job: SlurmJob | None) -> str:
    """Return Slurm's name of this node, or the host name outside of Slurm."""
    return job.node if job else os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def has_unrecorded_end(record: RunRecord) -> bool:
    """Return whether the last attempt has no recorded end: its worker died, or it still runs."""
    return any(last.ended is None and not last.failure for last in record.attempts[-1:])


def start_attempt(paths: RunPaths, record: RunRecord, job: SlurmJob | None) -> None:
    """Append a new attempt to the record; end the previous one if its worker could not."""
    if has_unrecorded_end(record):
        # Either Slurm requeued the job by itself, or somebody launched the run again.
        requeued = job is not None and record.attempts[-1].job_id == job.id
        failure = Failure.NODE_FAILURE if requeued else Failure.KILLED
        record = end_attempt(paths, record, failure, ended=None, requeued=requeued)
    attempt = Attempt(
        started=now(),
        node=node_name(job),
        job_id=job.id if job else None,
        queued=_queued_since(record, job) if job else None,
        gpus=(job.gpus or 0) if job else 0,
        cpus=job.cpus if job else None,
        memory=job.memory if job else None,
        time_limit=job.time_limit if job else None,
        restarts=job.restarts if job else 0,
        ledger_position=ledger.size(paths.sweep),
    )
    earlier_jobs = [known for known in record.job_ids if known != attempt.job_id]
    record = dataclasses.replace(
        record,
        status=Status.RUNNING,
        started=attempt.started,
        ended=None,
        seconds=None,
        error=None,
        failure=None,
        node=attempt.node,
        job_id=attempt.job_id,
        job_ids=[*earlier_jobs, attempt.job_id] if attempt.job_id else record.job_ids,
        git=git_state() or record.git,
        restarts=len(record.attempts),
        attempts=[*record.attempts, attempt],
    )
    write_record(paths, record)


def _queued_since(record: RunRecord, job: SlurmJob) -> str | None:
    """Return when the job was queued; Slurm may report a requeued job's first submission."""
    ends = [last.ended for last in record.attempts[-1:] if last.job_id == job.id and last.ended]
    return max([job.submitted, *ends]) if job.submitted else None


def end_attempt(
    paths: RunPaths, record: RunRecord, failure: Failure | None, **changes: Any
) -> RunRecord:
    """Return the record with the end of its last attempt filled in; ``changes`` override it."""
    progress = read_progress(paths)
    values = {
        "ended": now(),
        "failure": failure.value if failure else None,
        "epochs": progress.done if progress else None,
        "checkpoint": latest_checkpoint(paths),
        "feature_blocks": read_feature_blocks(paths),
    }
    return change_last_attempt(record, **values | changes)


def change_last_attempt(record: RunRecord, **changes: Any) -> RunRecord:
    """Return the record with other values in its last attempt."""
    *earlier, last = record.attempts
    return dataclasses.replace(record, attempts=[*earlier, dataclasses.replace(last, **changes)])


def finish_attempt(
    paths: RunPaths,
    code: int,
    failure: Failure,
    cluster: ClusterConfig,
    lease: Lease,
    *,
    error: ErrorInfo | None = None,
    used: dict[str, Any] | None = None,
    process: str = "the training process",
) -> AttemptOutcome:
    """Record the end of the run's last attempt, and decide what to do about the run.

    A file system that is full or unreachable is tried again for a while, unless the lease is lost.

    Args:
        code: The exit code of ``process``; ``-n`` if signal n killed it.
        error: What the training recorded; ``None`` to derive it from the code.
        used: Fields of the attempt to set, such as its resource usage.
    """
    old = _with_patience(paths, lease, lambda: require_record(paths))
    record = end_attempt(paths, old, failure, **used or {})
    node = record.attempts[-1].node
    on_bad_node = failure in (Failure.NODE_FAILURE, Failure.SETUP)
    is_new_bad_node = on_bad_node and node not in record.bad_nodes
    record = dataclasses.replace(
        record,
        status=Status.INTERRUPTED if failure in INTERRUPTIONS else Status.FAILED,
        ended=now(),
        failure=failure.value,
        error=error or describe_exit(failure, code, record.attempts[-1], process),
        bad_nodes=[*record.bad_nodes, node] if is_new_bad_node else record.bad_nodes,
    )
    _with_patience(paths, lease, lambda: write_record(paths, record))
    decision = decide(cluster.on_failure, failure, record)
    return AttemptOutcome(paths, shell_exit_code(code), failure, decision, has_attempt=True)


def _with_patience(paths: RunPaths, lease: Lease, action: Callable[[], T]) -> T:
    end = time.monotonic() + STORAGE_PATIENCE_SECONDS
    while True:
        try:
            return action()
        except OSError as error:
            over = lease.lost or time.monotonic() > end or error.errno in PERMANENT_ERRORS
            if over or not is_storage_failure(paths.folder, error):
                raise
        time.sleep(RETRY_SECONDS)


def shell_exit_code(code: int) -> int:
    """Return a child's exit code as a shell reports it; 1 for a child that exits early with 0."""
    return 128 - code if code < 0 else code or 1


def describe_exit(failure: Failure, code: int, attempt: Attempt, process: str) -> ErrorInfo:
    """Return the error for a process that recorded none itself."""
    end = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    interruptions = {
        Failure.TIME_LIMIT: "the time limit (cluster.time) was near",
        Failure.PREEMPTED: "Slurm preempted or requeued the job",
        Failure.NODE_FAILURE: f"Slurm lost node {attempt.node}",
        Failure.CANCELLED: "a user ended it",
    }
    if failure in interruptions:
        return ErrorInfo("Interrupted", f"{interruptions[failure]}: {end}")
    if failure is Failure.OUT_OF_MEMORY:
        memory = f"; the job had {attempt.memory} MiB" if attempt.memory else ""
        return ErrorInfo("Killed", f"the kernel killed {process}: out of memory{memory}")
    if code == exit_codes.LEASE_HELD:
        return ErrorInfo("Exit", f"{process} ended because its worker was stopped for a while")
    if code >= 0:
        return ErrorInfo("Exit", f"{process} ended with {end}")
    return ErrorInfo("Killed", f"{process} was killed by {end}{CAUSES.get(end, '')}")
