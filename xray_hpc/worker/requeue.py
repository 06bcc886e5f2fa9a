"""Requeue a job after its runs have ended: one decision for all of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Failure, Status, write_record
from xray_hpc.worker.attempt_record import (
    AttemptOutcome,
    change_last_attempt,
    log_unwritable_folder,
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
    to_retry, on_bad_node = [], []
    for outcome in outcomes:
        decision = outcome.decision
        if decision is None:
            continue
        if decision.action == "more_memory":
            memory = memory or _next_memory(job, cluster)
            if memory is not None and memory == job.memory:
                decision = FailureDecision("stop", f"no node has more than the job's {memory} MiB")
        failure = outcome.failure.value if outcome.failure else "held by another process"
        logger.info(f"{outcome.paths.name}: {failure}; {decision.action} ({decision.reason})")
        if decision.action != "stop":
            to_retry.append(outcome)
        if decision.action == "exclude_node":
            on_bad_node.append(outcome.paths)
    if not to_retry or any(outcome.failure is Failure.CANCELLED for outcome in outcomes):
        return
    excluded = {node for paths in on_bad_node for node in require_record(paths).bad_nodes}
    exclude = sorted({job.node, *excluded}) if on_bad_node else []
    if exclude and not job.fits_another_node(exclude):
        logger.warning(f"no other node fits the job, so it may run on {', '.join(exclude)} again")
        exclude = []
    _mark_requeued(to_retry, True)
    refusal = job.requeue(memory=memory, exclude=exclude, patience=patience)
    if refusal is not None:
        logger.error(f"job {job.id} was not requeued ({refusal}); launch the sweep again")
        _mark_requeued(to_retry, False)


def _next_memory(job: SlurmJob, cluster: ClusterConfig) -> int | None:
    """Return the memory in MiB to request next; ``None`` if the present amount is unknown."""
    if job.memory is None:
        return None
    wanted = round(job.memory * cluster.on_failure.memory_factor)
    return max(min(wanted, job.largest_memory() or wanted), job.memory)


def _mark_requeued(outcomes: Sequence[AttemptOutcome], requeued: bool) -> None:
    for outcome in outcomes:
        if outcome.has_attempt:
            try:
                record = change_last_attempt(require_record(outcome.paths), requeued=requeued)
                write_record(outcome.paths, record)
            except OSError as error:
                log_unwritable_folder(outcome.paths, error)


def was_given_up(run: RunPaths, runs: Sequence[RunPaths], job: SlurmJob | None) -> bool:
    """Return whether an earlier start of the job stopped this run, and was requeued for others."""
    if job is None or job.restarts == 0 or _was_requeued_for(run, job) is not False:
        return False
    return any(_was_requeued_for(other, job) for other in runs)


def _was_requeued_for(run: RunPaths, job: SlurmJob) -> bool | None:
    """Return whether the job was requeued for the run; ``None`` if it ended no attempt at it."""
    record = valid_record(run)
    if record is None or record.status is Status.FINISHED or not record.attempts:
        return None
    last = record.attempts[-1]
    return last.requeued if last.job_id == job.id and last.ended else None
