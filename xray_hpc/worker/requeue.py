"""Requeue a job after its runs have ended: one decision for all of them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.records.atomic_files import is_storage_failure
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Failure, Status
from xray_hpc.worker.attempt_record import (
    AttemptOutcome,
    mark_requeued,
    require_record,
    valid_record,
)
from xray_hpc.worker.failure_policy import FailureDecision
from xray_hpc.worker.slurm_job import SlurmJob

logger = logging.getLogger(__name__)


def requeue_job(
    outcomes: Sequence[AttemptOutcome],
    job: SlurmJob | None,
    cluster: ClusterConfig,
    patience: float,
) -> None:
    """Requeue the job if one of its runs needs another attempt and none was cancelled.

    An unreachable controller is retried for ``patience`` seconds.
    """
    if job is None:
        return
    memory = None
    if any(outcome.action == "more_memory" for outcome in outcomes):
        memory = _next_memory(job, cluster)
        if memory is not None and memory == job.memory:
            outcomes = [_without_more_memory(outcome, job) for outcome in outcomes]
    for outcome in outcomes:
        if outcome.decision:
            failure = outcome.failure.value if outcome.failure else "held by another process"
            action, reason = outcome.action, outcome.decision.reason
            logger.info(f"{outcome.paths.name}: {failure}; {action} ({reason})")
    to_retry = [outcome for outcome in outcomes if outcome.action not in (None, "stop")]
    if not to_retry or any(outcome.failure is Failure.CANCELLED for outcome in outcomes):
        return
    excluded = set[str]()
    for outcome in to_retry:
        if outcome.action == "exclude_node":
            excluded |= {job.node, *require_record(outcome.paths).bad_nodes}
    _mark_requeued(to_retry, True)
    refusal = job.requeue(memory=memory, exclude=sorted(excluded), patience=patience)
    if refusal is not None:
        logger.error(f"job {job.id} was not requeued ({refusal}); launch the sweep again")
        _mark_requeued(to_retry, False)


def _without_more_memory(outcome: AttemptOutcome, job: SlurmJob) -> AttemptOutcome:
    """Return the outcome, stopped if it asks for more memory than any node has."""
    if outcome.action != "more_memory":
        return outcome
    decision = FailureDecision("stop", f"no node has more than the job's {job.memory} MiB")
    return dataclasses.replace(outcome, decision=decision)


def _next_memory(job: SlurmJob, cluster: ClusterConfig) -> int | None:
    """Return the memory in MiB to request next; ``None`` if the present amount is unknown."""
    if job.memory is None:
        return None
    wanted = round(job.memory * cluster.on_failure.memory_factor)
    largest = job.largest_memory() or wanted
    return max(min(wanted, largest), job.memory)


def _mark_requeued(outcomes: Sequence[AttemptOutcome], requeued: bool) -> None:
    for outcome in outcomes:
        if outcome.has_attempt:
            try:
                mark_requeued(outcome.paths, requeued)
            except OSError as error:
                log_unwritable_folder(outcome.paths, error)


def log_unwritable_folder(paths: RunPaths, error: OSError) -> None:
    """Log that the run's folder cannot be written, if ``error`` says that; else raise it."""
    if not is_storage_failure(paths.folder, error):
        raise error
    logger.error(f"cannot write to {paths.folder}: {error.strerror}")


def was_given_up(run: RunPaths, runs: Sequence[RunPaths], job: SlurmJob | None) -> bool:
    """Return whether an earlier start of the job stopped this run, and was requeued for others."""
    if job is None or job.restarts == 0:
        return False
    return _was_requeued_for(run, job) is False and any(
        _was_requeued_for(other, job) for other in runs
    )


def _was_requeued_for(run: RunPaths, job: SlurmJob) -> bool | None:
    """Return whether the job was requeued for the run; ``None`` if it ended no attempt at it."""
    record = valid_record(run)
    if record is None or record.status is Status.FINISHED or not record.attempts:
        return None
    last = record.attempts[-1]
    return last.requeued if last.job_id == job.id and last.ended else None
