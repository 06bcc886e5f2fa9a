"""What a job does with its runs: try each, then decide once whether the job goes on.

Slurm's state, the exit code and ``run.json`` tell the same.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack

from xray_hpc.cluster.config import ClusterConfig
from xray_hpc.cluster.worker.attempt import UNWRITABLE, Attempts, take_lease
from xray_hpc.cluster.worker.failures import Evidence, Verdict, classify
from xray_hpc.cluster.worker.job import KILL_WAIT, Job, current_job
from xray_hpc.cluster.worker.output import complain, say
from xray_hpc.cluster.worker.signals import Signals
from xray_hpc.cluster.worker.tries import Outcome, conclude, existing_record, mark_retried
from xray_hpc.cluster.worker.usage import job_out_of_memory, memory_group
from xray_hpc.errors import UserError
from xray_hpc.runs.paths import RunPaths
from xray_hpc.runs.record import Failure, RunRecord, Status, read_record

POLL_SECONDS = 0.2


def work(runs: Sequence[RunPaths], cluster: ClusterConfig) -> int:
    """Train the runs that are not finished, ``cluster.runs_per_gpu`` side by side.

    Gives the exit code that the job should end with: 0 where every run is finished; else that of
    the first which is not: 2 for wrong input, 74 where its folder cannot be written to, 128 + n
    where signal n ended it. A Slurm job with a run to be tried again is put back into the queue,
    unless ``cluster.kind`` is local: then the job is somebody else's.
    """
    job = None if cluster.kind == "local" else current_job()
    side_by_side = min(cluster.runs_per_gpu, len(runs))
    todo = [run for run in runs if not _left_by_this_job(run, runs, job)]
    with Signals(job, cluster.notice) as signals, ExitStack() as leases:
        cpus = _cpus(job, side_by_side)
        attempts = Attempts(cluster, job, signals, leases, side_by_side, cpus)
        with ThreadPoolExecutor(side_by_side) as pool:
            futures = [pool.submit(attempts.attempt, run) for run in todo]
            while wait(futures, timeout=POLL_SECONDS).not_done:  # signals are handled meanwhile
                signals.limit()
        outcomes = [future.result() for future in futures]
        _settle(outcomes, job, cluster, signals.patience)
    codes = [outcome.code for outcome in outcomes] + [1] * (len(runs) - len(todo))
    return next((code for code in codes if code), 0)


def conclude_dead(runs: Sequence[RunPaths], cluster: ClusterConfig, code: int) -> None:
    """Do what :func:`work` could not, where it was killed itself; the task ended with ``code``.

    It is for the batch shell of the job, on the same node. Runs that were concluded are left alone.
    """
    job = current_job()
    if job is None:
        return
    with Signals(job, cluster.notice) as signals, ExitStack() as leases:
        outcomes = []
        for run in runs:
            record = _record(run)
            if record is None or record.status is not Status.RUNNING or record.job_id != job.id:
                continue
            try:
                leases.enter_context(take_lease(run, job, signals))
                outcomes.append(conclude(run, -signal.SIGKILL, _cause_of_death(job), cluster))
            except UserError as error:  # a newer copy of this job trains it
                say(str(error))
            except OSError as error:
                _say_unwritable(run, error)
        if outcomes:
            say(f"the job's task was killed, and ended with {code}")
            _settle(outcomes, job, cluster, signals.patience)


def _cause_of_death(job: Job) -> Failure:
    state = job.state(KILL_WAIT)
    if state is not None and state.restarts > job.restarts:
        return classify(Evidence(-signal.SIGKILL, signal.SIGTERM, True, state, job.restarts))
    return Failure.OUT_OF_MEMORY if job_out_of_memory(memory_group()) else Failure.KILLED


def _settle(
    outcomes: Sequence[Outcome], job: Job | None, cluster: ClusterConfig, patience: float
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
        if item.failure and item.verdict:
            what = f"{item.action}: {item.verdict.why}"
            say(f"{item.paths.name} ended ({item.failure.value}); {what}")
    again = [item for item in outcomes if item.action not in (None, "stop")]
    if not again or any(item.failure is Failure.CANCELLED for item in outcomes):
        return
    exclude = set[str]()
    for item in again:
        if item.action == "elsewhere":
            exclude |= {job.node, *existing_record(item.paths).bad_nodes}
    _mark_retried(again, True)
    refused = job.requeue(memory=memory, exclude=sorted(exclude), patience=patience)
    if refused is not None:
        complain(f"error: job {job.id} was not put back ({refused}); launch again")
        _mark_retried(again, False)


def _without_more(outcome: Outcome, job: Job) -> Outcome:
    """The outcome, stopped where it asks for more memory than any node has."""
    if outcome.action != "more_memory":
        return outcome
    verdict = Verdict("stop", f"no node has more than its {job.memory} MiB of memory")
    return dataclasses.replace(outcome, verdict=verdict)


def _more_memory(job: Job, cluster: ClusterConfig) -> int | None:
    """What the job asks for next, in MiB; ``None`` where it is not known what it has."""
    if job.memory is None:
        return None
    wanted = round(job.memory * cluster.on_failure.memory_factor)
    largest = job.largest_memory() or wanted
    return max(min(wanted, largest), job.memory)


def _mark_retried(outcomes: Sequence[Outcome], retried: bool) -> None:
    for item in outcomes:
        if item.began:
            try:
                mark_retried(item.paths, retried)
            except OSError as error:
                _say_unwritable(item.paths, error)


def _say_unwritable(paths: RunPaths, error: OSError) -> None:
    if error.errno not in UNWRITABLE:
        raise error
    complain(f"error: {paths.folder} cannot be written to ({error.strerror})")


def _left_by_this_job(run: RunPaths, runs: Sequence[RunPaths], job: Job | None) -> bool:
    """Whether an earlier start of this job gave the run up, and came back for others."""
    if job is None or job.restarts == 0:
        return False
    return _retried(run, job) is False and any(_retried(other, job) for other in runs)


def _retried(run: RunPaths, job: Job) -> bool | None:
    """Whether this job meant to go on with the run; ``None`` where it did not end a try of it."""
    record = _record(run)
    if record is None or record.status is Status.FINISHED or not record.tries:
        return None
    last = record.tries[-1]
    return last.retried if last.job_id == job.id and last.ended else None


def _record(run: RunPaths) -> RunRecord | None:
    try:
        return read_record(run)
    except UserError:  # is said where the run is tried
        return None


def _cpus(job: Job | None, side_by_side: int) -> int | None:
    """How many CPUs each run gets; ``None`` for all that there are."""
    if job is None and side_by_side == 1:
        return None
    available = job.cpus if job and job.cpus else len(os.sched_getaffinity(0))
    return max(available // side_by_side, 1)
