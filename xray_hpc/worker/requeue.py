"""What becomes of a job whose runs have ended, each in its way: decided once for all of them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.errors import UserError
from xray_hpc.records.atomic_files import is_storage_failure
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Failure, RunRecord, Status, read_record
from xray_hpc.worker.attempt_record import AttemptOutcome, existing_record, mark_requeued
from xray_hpc.worker.failure_policy import FailureDecision
from xray_hpc.worker.slurm_job import Job

logger = logging.getLogger(__name__)


def requeue_job(
    outcomes: Sequence[AttemptOutcome], job: Job | None, cluster: ClusterConfig, patience: float
) -> None:
    """Put the job back into the queue if one of its runs is to be tried again."""
    if job is None:
        return
    memory = None
    if any(item.action == "more_memory" for item in outcomes):
        memory = _more_memory(job, cluster)
        if memory is not None and memory == job.memory:
            outcomes = [_without_more(item, job) for item in outcomes]
    for item in outcomes:
        if item.decision:
            ended = f"ended ({item.failure.value})" if item.failure else "has another owner"
            logger.info(f"{item.paths.name} {ended}; {item.action}: {item.decision.why}")
    again = [item for item in outcomes if item.action not in (None, "stop")]
    if not again or any(item.failure is Failure.CANCELLED for item in outcomes):
        return
    exclude = set[str]()
    for item in again:
        if item.action == "exclude_node":
            exclude |= {job.node, *existing_record(item.paths).bad_nodes}
    _mark_requeued(again, True)
    refused = job.requeue(memory=memory, exclude=sorted(exclude), patience=patience)
    if refused is not None:
        logger.error(f"job {job.id} was not put back ({refused}); launch again")
        _mark_requeued(again, False)


def _without_more(outcome: AttemptOutcome, job: Job) -> AttemptOutcome:
    """The outcome, stopped where it asks for more memory than any node has."""
    if outcome.action != "more_memory":
        return outcome
    decision = FailureDecision("stop", f"no node has more than its {job.memory} MiB of memory")
    return dataclasses.replace(outcome, decision=decision)


def _more_memory(job: Job, cluster: ClusterConfig) -> int | None:
    """What the job asks for next, in MiB; ``None`` where it is not known what it has."""
    if job.memory is None:
        return None
    wanted = round(job.memory * cluster.on_failure.memory_factor)
    largest = job.largest_memory() or wanted
    return max(min(wanted, largest), job.memory)


def _mark_requeued(outcomes: Sequence[AttemptOutcome], requeued: bool) -> None:
    for item in outcomes:
        if item.began:
            try:
                mark_requeued(item.paths, requeued)
            except OSError as error:
                say_unwritable(item.paths, error)


def say_unwritable(paths: RunPaths, error: OSError) -> None:
    """Say why nothing can be written into the folder of a run; any other error is raised."""
    if not is_storage_failure(paths.folder, error):
        raise error
    logger.error(f"{paths.folder} cannot be written to ({error.strerror})")


def given_up(run: RunPaths, runs: Sequence[RunPaths], job: Job | None) -> bool:
    """Whether an earlier start of this job gave the run up, and came back for others."""
    if job is None or job.restarts == 0:
        return False
    return _retried(run, job) is False and any(_retried(other, job) for other in runs)


def _retried(run: RunPaths, job: Job) -> bool | None:
    """Whether this job meant to go on with the run; ``None`` where it did not end a try of it."""
    record = record_of(run)
    if record is None or record.status is Status.FINISHED or not record.attempts:
        return None
    last = record.attempts[-1]
    return last.requeued if last.job_id == job.id and last.ended else None


def record_of(run: RunPaths) -> RunRecord | None:
    """The run's record; ``None`` where there is none, or none that makes sense."""
    try:
        return read_record(run)
    except UserError:  # is said where the run is tried
        return None
