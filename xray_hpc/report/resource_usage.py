"""What runs used of a cluster, from the tries in their records."""

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
    """A try that ended, or is taken to have, and the time from its start until then."""

    of: Attempt
    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()

    @property
    def busy_cpus(self) -> float | None:
        """How many CPUs its training kept busy, on average; ``None`` where it is not known."""
        used = self.of.cpu_seconds
        return None if used is None or not self.seconds else used / self.seconds


@dataclass(frozen=True)
class Usage:
    """What one run used; ``None`` is not known.

    ``unended`` counts tries of which neither an end nor a sign of life is known: no time holds
    them. ``seconds`` are those of all tries, ``waiting`` those in the queue before them. Memory is
    in MiB: the most of any try, and what the last one asked for. ``gpu_use`` and ``cpu_use`` are
    means over the time, 1 is all of what a try had; ``time_use`` is the longest try's share of its
    time limit. ``restarts`` counts by cause why a try ended that was not the last.
    """

    attempts: int = 0
    unended: int = 0
    seconds: float | None = None
    gpu_hours: float | None = None
    waiting: float | None = None
    peak_memory: int | None = None
    asked_memory: int | None = None
    gpu_use: float | None = None
    cpu_use: float | None = None
    time_use: float | None = None
    restarts: Counter[str] = field(default_factory=Counter)


def usage(attempts: Sequence[Attempt], progress: TrainingProgress | None = None) -> Usage:
    """Add up the tries of one run, in the order of their starts."""
    known = stretches(attempts, progress)
    asked = [one.memory for one in attempts if one.memory is not None]
    return Usage(
        attempts=len(attempts),
        unended=len(attempts) - len(known),
        seconds=sum(one.seconds for one in known) if known else None,
        gpu_hours=hours_of(known),
        waiting=waiting(attempts),
        peak_memory=max((one.peak_memory for one in attempts if one.peak_memory), default=None),
        asked_memory=asked[-1] if asked else None,
        gpu_use=_gpu_use(known),
        cpu_use=_cpu_use(known),
        time_use=max(
            (one.seconds / (60 * one.of.time_limit) for one in known if one.of.time_limit),
            default=None,
        ),
        restarts=Counter(one.failure or "unknown" for one in attempts[:-1]),
    )


def stretches(
    attempts: Sequence[Attempt], progress: TrainingProgress | None = None
) -> list[TimedAttempt]:
    """The tries of one run whose time is known.

    The last one, if it has no end (yet), counts until the last epoch that ``progress`` tells of.
    Any other that has no end was killed, and nobody knows when.
    """
    found = []
    for number, one in enumerate(attempts):
        start, end = moment(one.started), moment(one.ended)
        if start is None:
            continue
        if number == len(attempts) - 1:
            end = end or _last_sign(attempts, start, progress)
        if end is not None:
            end = max(start, end)
            found.append(TimedAttempt(dataclasses.replace(one, ended=end.isoformat()), start, end))
    return found


def _last_sign(
    attempts: Sequence[Attempt], start: datetime, progress: TrainingProgress | None
) -> datetime | None:
    """When the last try ended its last epoch, where ``progress`` is of that try."""
    before = attempts[-2].checkpoint if len(attempts) > 1 else None
    if progress is None or progress.first != (before or [0])[0]:
        return None
    return start + timedelta(seconds=progress.seconds_per_epoch * (progress.done - progress.first))


def hours_of(known: Sequence[TimedAttempt]) -> float | None:
    """GPU-hours of any runs' tries, shared ones once; ``None`` where no time is known."""
    return gpu_hours(part.of for part in known) if known else None


def waiting(attempts: Iterable[Attempt]) -> float | None:
    """Seconds in the queue before any runs' tries; ``None`` where none is known.

    The queue is left when a job starts its first run: a run that waits for another of its job
    adds nothing.
    """
    waits: dict[tuple[str | None, datetime], float] = {}
    for one in attempts:
        queued, start = moment(one.queued), moment(one.started)
        if queued and start:
            wait, job = max((start - queued).total_seconds(), 0), (one.job_id, queued)
            waits[job] = min(wait, waits.get(job, wait))
    return sum(waits.values()) if waits else None


def _gpu_use(known: Iterable[TimedAttempt]) -> float | None:
    measured = [(one.of.gpu_use, one.seconds) for one in known if one.of.gpu_use is not None]
    seconds = sum(length for _, length in measured)
    return sum(use * length for use, length in measured) / seconds / 100 if seconds else None


def _cpu_use(known: Iterable[TimedAttempt]) -> float | None:
    used = available = 0.0
    for one in known:
        if one.of.cpu_seconds is not None and one.of.cpus:
            used += one.of.cpu_seconds
            available += one.seconds * one.of.cpus
    return used / available if available else None


def moment(text: str | None) -> datetime | None:
    """A time of a record; ``None`` for what is none, or has no zone."""
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo else None
