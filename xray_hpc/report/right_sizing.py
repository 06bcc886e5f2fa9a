"""Recommend smaller resource requests, based on what the runs of a sweep used.

A request is reported if it exceeds twice the maximum that any run used. The recommendation is that
maximum plus 25 %, rounded up as ``results/README.md`` says.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from xray_hpc.records.run_record import Failure
from xray_hpc.report.formatting import format_duration, format_mib, format_percent
from xray_hpc.report.resource_usage import TimedAttempt
from xray_hpc.report.run_result import RunResult
from xray_hpc.slurm.units import format_memory

HEADROOM = 1.25
REPORTED_RATIO = 2.0  # of requested to used
TWO_RUNS_PER_GPU = (
    "GPU use was at most {}: `cluster.runs_per_job=2 cluster.runs_per_gpu=2` trains two runs at "
    "once on each GPU, if its memory holds both."
)


@dataclass(frozen=True)
class JobAllocation:
    """One allocation of a job: the time between leaving the queue and ending or being requeued."""

    runs: Sequence[RunResult]  # of each of the attempts
    attempts: Sequence[TimedAttempt]
    finished: bool  # whether one of the runs finished

    def requested(self, resource: str) -> int | None:
        """Return the requested ``memory`` (MiB), ``time_limit`` (minutes), ``cpus`` or ``gpus``."""
        values = [getattr(timed.attempt, resource) for timed in self.attempts]
        return max((value for value in values if value is not None), default=None)

    def concurrent_maximum(self, usage: Callable[[TimedAttempt], float | None]) -> float | None:
        """Return the largest sum over concurrent attempts; ``None`` if a value is unknown."""
        known = [(one, value) for one in self.attempts if (value := usage(one)) is not None]
        if len(known) < len(self.attempts):
            return None
        # The sum can only increase where an attempt starts.
        return max(
            sum(value for other, value in known if other is one or one.starts_during(other))
            for one in self.attempts
        )


def job_allocations(runs: Iterable[RunResult]) -> list[JobAllocation]:
    """Return the Slurm allocations in which the runs were attempted, oldest first."""
    attempts: dict[object, list[tuple[RunResult, TimedAttempt]]] = defaultdict(list)
    for run in runs:
        for timed in run.timed_attempts:
            one = timed.attempt
            if one.job_id is not None:
                attempts[one.job_id, one.node, one.queued].append((run, timed))
    allocations = [
        JobAllocation(
            [run for run, _ in members],
            [timed for _, timed in members],
            any(run.finished and timed.attempt.failure is None for run, timed in members),
        )
        for members in attempts.values()
    ]
    return sorted(allocations, key=lambda job: min(timed.start for timed in job.attempts))


def _used_memory(job: JobAllocation) -> float | None:
    """Return the peak in MiB; after an out-of-memory failure at least the requested memory."""
    failures = {timed.attempt.failure for timed in job.attempts}
    peak = job.concurrent_maximum(lambda timed: timed.attempt.peak_memory)
    if Failure.OUT_OF_MEMORY.value in failures:
        return max(peak or 0, job.requested("memory") or 0)
    return peak


def _used_minutes(job: JobAllocation) -> float | None:
    """Return the duration, or the total time of the longest run if it had several attempts."""
    if any(run.usage.unknown_end for run in job.runs):
        return None
    start = min(timed.start for timed in job.attempts)
    end = max(timed.end for timed in job.attempts)
    return max((end - start).total_seconds(), *(run.usage.seconds or 0 for run in job.runs)) / 60


def _used_cpus(job: JobAllocation) -> float | None:
    return job.concurrent_maximum(lambda timed: timed.busy_cpus)


def _used_gpus(job: JobAllocation) -> float | None:
    use = [one.attempt.gpu_use for one in job.attempts if one.attempt.gpu_use is not None]
    known = len(use) == len(job.attempts)
    return max(use) / 100 * (job.requested("gpus") or 0) if known else None


def recommended_memory(used: float) -> int:
    """Return the MiB to request for a usage in MiB."""
    target = HEADROOM * used
    return _round_up(target, max(2 ** math.floor(math.log2(max(target, 1))) // 4, 256))


def recommended_minutes(used: float) -> int:
    """Return the minutes to request for a usage in minutes."""
    target = max(HEADROOM * used, 10)
    return _round_up(target, 5 if target < 60 else 15 if target < 240 else 60)


def recommended_devices(used: float) -> int:
    """Return the CPUs or GPUs to request for a mean number of busy ones."""
    return max(math.ceil(HEADROOM * used), 1)


def _round_up(value: float, step: int) -> int:
    return math.ceil(value / step) * step


class Resource(NamedTuple):
    """A resource that jobs request, with functions of a :class:`JobAllocation` and its usage."""

    key: str  # below ``cluster``
    field: str  # of Attempt, with the request
    used: Callable[[JobAllocation], float | None]
    recommended: Callable[[float], int]
    format_used: Callable[[float], str]
    format_value: Callable[[int], str] = str  # as on the command line


def _mib(used: float) -> str:
    return f"{format_mib(used)} used"


def _minutes(used: float) -> str:
    return f"{format_duration(60 * used)} used"


RESOURCES = (
    Resource("mem", "memory", _used_memory, recommended_memory, _mib, format_memory),
    Resource("time", "time_limit", _used_minutes, recommended_minutes, _minutes),
    Resource("cpus", "cpus", _used_cpus, recommended_devices, "{:.2g} busy".format),
    Resource("gpus", "gpus", _used_gpus, recommended_devices, "{:.2g} busy".format),
)


def recommendations(runs: Sequence[RunResult]) -> list[str]:
    """Return a Markdown sentence for each request that was too large.

    A recommendation for the whole sweep is given once; others are given for each model.
    """
    jobs = job_allocations(runs)
    general = dict(_recommendations(jobs))
    lines = [f"{sentence}." for sentence in general.values()]
    if (use := _single_gpu_use(jobs)) and 2 * HEADROOM * use <= 1:
        lines.append(TWO_RUNS_PER_GPU.format(format_percent(use)))
    for model in dict.fromkeys(run.model for run in runs):
        model_jobs = [job for job in jobs if any(run.model == model for run in job.runs)]
        lines += [
            f"{sentence} for `model={model}`."
            for key, sentence in _recommendations(model_jobs)
            if key not in general
        ]
    return lines


def _recommendations(jobs: Sequence[JobAllocation]) -> Iterator[tuple[str, str]]:
    for resource in RESOURCES:
        requested = jobs[-1].requested(resource.field) if jobs else None
        used = _maximum_usage(resource, jobs)
        if not requested or used is None:
            continue
        recommended = resource.recommended(used)
        if requested > REPORTED_RATIO * used and recommended < requested:
            before, after = map(resource.format_value, (requested, recommended))
            key, most = f"cluster.{resource.key}", f"{resource.format_used(used)} at most"
            yield key, f"`{key}={before}` requested, {most}: `{key}={after}` recommended"


def _maximum_usage(resource: Resource, jobs: Sequence[JobAllocation]) -> float | None:
    """Return the maximum over jobs; ``None`` if unknown for a job that finished a run."""
    usage = [(job.finished, resource.used(job)) for job in jobs]
    known = [used for _, used in usage if used is not None]
    finished = [used for finished, used in usage if finished]
    return max(known) if finished and None not in finished else None


def _single_gpu_use(jobs: Sequence[JobAllocation]) -> float | None:
    """Return the maximum utilization if every run had exactly one GPU to itself."""
    alone = all(
        job.requested("gpus") == 1 and job.concurrent_maximum(lambda _: 1) == 1 for job in jobs
    )
    return _maximum_usage(RESOURCES[-1], jobs) if alone and len(jobs) > 1 else None
