"""Compute GPU-hours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from xray_hpc.records.run_record import Attempt


def gpu_hours(attempts: Iterable[Attempt]) -> float:
    """Return the GPU-hours of the attempts that have ended.

    Runs that share the GPUs of a job, or of a host without Slurm, count their common time once.
    """
    spans: dict[tuple[str | None, str], list[tuple[float, float, int]]] = defaultdict(list)
    for attempt in attempts:
        if attempt.gpus and attempt.ended is not None:
            span = (_stamp(attempt.started), _stamp(attempt.ended), attempt.gpus)
            spans[attempt.job_id, attempt.node].append(span)
    seconds = 0.0
    for shared in spans.values():
        counted_until = 0.0
        for start, end, gpus in sorted(shared):
            seconds += gpus * max(end - max(start, counted_until), 0.0)
            counted_until = max(counted_until, end)
    return seconds / 3600


def _stamp(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
