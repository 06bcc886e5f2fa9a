"""GPU-hours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from xray_hpc.records.run_record import Attempt


def gpu_hours(attempts: Iterable[Attempt]) -> float:
    """The GPU-hours of tries that have ended.

    Runs side by side in one job, or on one machine without Slurm, share its GPUs: such time
    counts once.
    """
    sharing: dict[tuple[str | None, str], list[tuple[float, float, int]]] = defaultdict(list)
    for one in attempts:
        if one.gpus and one.ended is not None:
            span = (_stamp(one.started), _stamp(one.ended), one.gpus)
            sharing[one.job_id, one.node].append(span)
    seconds = 0.0
    for spans in sharing.values():
        until = 0.0
        for start, end, gpus in sorted(spans):
            seconds += gpus * max(end - max(start, until), 0.0)
            until = max(until, end)
    return seconds / 3600


def _stamp(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
