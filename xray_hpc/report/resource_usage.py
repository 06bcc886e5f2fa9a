"""Compute what runs used of a cluster from the attempts in their records."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from xray_hpc.monitoring.gpu_hours import gpu_hours
from xray_hpc.records.run_progress import TrainingProgress
from xray_hpc.records.run_record import Attempt


@dataclass(frozen=True)
class TimedAttempt:
    """An attempt with a known start and a known or estimated end."""

    attempt: Attempt
    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()

    def starts_during(self, other: TimedAttempt) -> bool:
        return other.start <= self.start < other.end

    @property
    def busy_cpus(self) -> float | None:
        """The mean number of CPUs that the training kept busy; ``None`` if unknown."""
        cpu_seconds = self.attempt.cpu_seconds
        return None if cpu_seconds is None or not self.seconds else cpu_seconds / self.seconds


@dataclass(frozen=True)
class ResourceUsage:
    """The resources that one run used; ``None`` is unknown.

    Attributes:
        attempts: number of attempts.
        unknown_end: number of attempts whose end is unknown; no time includes them.
        seconds: wall-clock time of all attempts.
        gpu_hours: GPU-hours of all attempts.
        queue_seconds: time in the queue before the attempts.
        peak_memory: the maximum over the attempts, in MiB.
        requested_memory: the last request, in MiB.
        gpu_use: mean utilization of the allocated GPUs over time, 0..1.
        cpu_use: mean utilization of the allocated CPUs over time, 0..1.
        time_use: the longest attempt as a share of its time limit.
        restarts: number of restarts by failure class of the preceding attempt.
    """

    attempts: int = 0
    unknown_end: int = 0
    seconds: float | None = None
    gpu_hours: float | None = None
    queue_seconds: float | None = None
    peak_memory: int | None = None
    requested_memory: int | None = None
    gpu_use: float | None = None
    cpu_use: float | None = None
    time_use: float | None = None
    restarts: Counter[str] = field(default_factory=Counter)


def resource_usage(
    attempts: Sequence[Attempt], progress: TrainingProgress | None = None
) -> ResourceUsage:
    """Add up the attempts of one run, given in the order of their starts."""
    timed = timed_attempts(attempts, progress)
    requests = [attempt.memory for attempt in attempts if attempt.memory is not None]
    peaks = [attempt.peak_memory for attempt in attempts if attempt.peak_memory]
    limits = [(one.seconds, 60 * one.attempt.time_limit) for one in timed if one.attempt.time_limit]
    return ResourceUsage(
        attempts=len(attempts),
        unknown_end=len(attempts) - len(timed),
        seconds=sum(one.seconds for one in timed) if timed else None,
        gpu_hours=total_gpu_hours(timed),
        queue_seconds=queue_seconds(attempts),
        peak_memory=max(peaks, default=None),
        requested_memory=requests[-1] if requests else None,
        gpu_use=_mean_gpu_use(timed),
        cpu_use=_mean_cpu_use(timed),
        time_use=max((seconds / limit for seconds, limit in limits), default=None),
        restarts=Counter(attempt.failure or "unknown" for attempt in attempts[:-1]),
    )


def timed_attempts(
    attempts: Sequence[Attempt], progress: TrainingProgress | None = None
) -> list[TimedAttempt]:
    """Return the attempts of one run whose start and end are known.

    If the last attempt has no end (yet), it counts until the last epoch in ``progress``. An
    earlier attempt without an end was killed at an unknown time and is left out.
    """
    timed = []
    for i, attempt in enumerate(attempts):
        start, end = parse_time(attempt.started), parse_time(attempt.ended)
        if start is None:
            continue
        if i == len(attempts) - 1:
            end = end or _last_epoch_end(attempts, start, progress)
        if end is not None:
            end = max(start, end)  # clocks of different hosts may disagree
            ended = dataclasses.replace(attempt, ended=end.isoformat())
            timed.append(TimedAttempt(ended, start, end))
    return timed


def _last_epoch_end(
    attempts: Sequence[Attempt], start: datetime, progress: TrainingProgress | None
) -> datetime | None:
    """Estimate when the last attempt finished its last epoch, if ``progress`` belongs to it."""
    checkpoint = attempts[-2].checkpoint if len(attempts) > 1 else None
    if progress is None or progress.first != (checkpoint or [0])[0]:
        return None
    return start + timedelta(seconds=progress.seconds_per_epoch * (progress.done - progress.first))


def total_gpu_hours(timed: Sequence[TimedAttempt]) -> float | None:
    """Return the GPU-hours of attempts of any runs, counting shared GPUs once."""
    return gpu_hours(one.attempt for one in timed) if timed else None


def queue_seconds(attempts: Iterable[Attempt]) -> float | None:
    """Return the seconds that attempts of any runs spent in the queue; ``None`` if unknown.

    A job leaves the queue when it starts its first run. Runs that start later in the same job add
    nothing.
    """
    waits: dict[tuple[str | None, datetime], float] = {}
    for attempt in attempts:
        queued, start = parse_time(attempt.queued), parse_time(attempt.started)
        if queued and start:
            wait, job = max((start - queued).total_seconds(), 0), (attempt.job_id, queued)
            waits[job] = min(wait, waits.get(job, wait))
    return sum(waits.values()) if waits else None


def _mean_gpu_use(timed: Iterable[TimedAttempt]) -> float | None:
    uses = [(one.attempt.gpu_use, one.seconds) for one in timed]
    measured = [(use, seconds) for use, seconds in uses if use is not None]
    total = sum(seconds for _, seconds in measured)
    return sum(use * seconds for use, seconds in measured) / total / 100 if total else None


def _mean_cpu_use(timed: Iterable[TimedAttempt]) -> float | None:
    used = available = 0.0
    for one in timed:
        if one.attempt.cpu_seconds is not None and one.attempt.cpus:
            used += one.attempt.cpu_seconds
            available += one.seconds * one.attempt.cpus
    return used / available if available else None


def parse_time(text: str | None) -> datetime | None:
    """Parse a time of a record; return ``None`` if it is unknown."""
    return None if text is None else datetime.fromisoformat(text)
