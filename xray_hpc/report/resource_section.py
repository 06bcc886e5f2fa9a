"""The report's section on used resources and recommended requests."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from xray_hpc.count_text import format_count
from xray_hpc.report.formatting import (
    format_duration,
    format_failures,
    format_hours,
    format_mib,
    format_percent,
)
from xray_hpc.report.markdown import escape, table
from xray_hpc.report.resource_usage import ResourceUsage, queue_seconds, total_gpu_hours
from xray_hpc.report.right_sizing import recommendations
from xray_hpc.report.run_result import RunResult

MAX_ROWS_PER_MODEL = 20  # more runs of a model are summarized in one row
DEFINITIONS = (
    "Times are sums over all attempts of a run. Peak memory is that of the training; GPU and CPU "
    "use are means over time of the allocated devices."
)
SUMMARIZED = f"Models with more than {MAX_ROWS_PER_MODEL} runs: minimum / median / maximum."
RECOMMENDATIONS = (
    "These requests exceed twice the maximum that any run used. Recommended for the next launch:"
)
SHARED_GPUS = "The total counts GPUs that concurrent runs share once."


class UsageColumn(NamedTuple):
    """A column that shows a value of :class:`ResourceUsage`."""

    head: str
    value: Callable[[ResourceUsage], float | None]
    formatter: Callable[[float | None], str]


COLUMNS = (
    UsageColumn("wall-clock", lambda usage: usage.seconds, format_duration),
    UsageColumn("GPU-hours", lambda usage: usage.gpu_hours or None, format_hours),
    UsageColumn("GPU use", lambda usage: usage.gpu_use, format_percent),
    UsageColumn("CPU use", lambda usage: usage.cpu_use, format_percent),
    UsageColumn("queued", lambda usage: usage.queue_seconds, format_duration),
    UsageColumn("time limit used", lambda usage: usage.time_use, format_percent),
    UsageColumn("peak memory", lambda usage: usage.peak_memory, format_mib),
    UsageColumn("requested memory", lambda usage: usage.requested_memory, format_mib),
)


def resource_section(runs: Sequence[RunResult]) -> list[str]:
    """Return the section's paragraphs, or none if no run was attempted."""
    attempted = [run for run in runs if run.usage.attempts]
    if not attempted:
        return []
    by_model: dict[str, list[RunResult]] = {}
    for run in attempted:
        by_model.setdefault(run.model, []).append(run)
    columns = [column for column in COLUMNS if _values(column, attempted)]
    rows = [row for model, members in by_model.items() for row in _rows(model, members, columns)]
    heads = ["run", *(column.head for column in columns), "restarts"]
    if not any(row[-1] for row in rows):
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    summarized = any(len(members) > MAX_ROWS_PER_MODEL for members in by_model.values())
    total, unknown = total_usage(attempted), sum(run.usage.unknown_end for run in attempted)
    sentences = [
        f"Total: {escape(total)}." if total else "",
        f"Attempts with unknown end time (excluded): {unknown:,}." if unknown else "",
        SHARED_GPUS if _share_gpus(attempted) else "",
        DEFINITIONS,
        SUMMARIZED if summarized else "",
    ]
    parts = ["## Resource usage", " ".join(filter(None, sentences)), table(heads, rows)]
    if lines := recommendations(runs):
        parts += [RECOMMENDATIONS, "\n".join(f"- {line}" for line in lines)]
    return parts


def total_usage(runs: Sequence[RunResult]) -> str:
    """Summarize all runs: ``12.3 GPU-hours, 45 min queued, 3.1G peak memory``."""
    hours = _total_gpu_hours(runs)
    queued = queue_seconds(one for run in runs if run.record for one in run.record.attempts)
    peak = max((run.usage.peak_memory or 0 for run in runs), default=0)
    restarts = _restarts(runs)
    count = format_count(restarts.total(), "restart")
    parts = [
        f"{format_hours(hours)} GPU-hours" if hours else "",
        f"{format_duration(queued)} queued" if queued else "",
        f"{format_mib(peak)} peak memory" if peak else "",
        f"{count} ({format_failures(restarts)})" if restarts else "",
    ]
    return ", ".join(filter(None, parts))


def _restarts(runs: Iterable[RunResult]) -> Counter[str]:
    return sum((run.usage.restarts for run in runs), Counter[str]())


def _values(column: UsageColumn, runs: Sequence[RunResult]) -> list[float]:
    return [value for run in runs if (value := column.value(run.usage)) is not None]


def _rows(
    model: str, runs: Sequence[RunResult], columns: Sequence[UsageColumn]
) -> Iterator[list[str]]:
    if len(runs) > MAX_ROWS_PER_MODEL:
        cells = [_min_median_max(_values(column, runs), column.formatter) for column in columns]
        name = f"{escape(model)}, {format_count(len(runs), 'run')}"
        yield [name, *cells, escape(format_failures(_restarts(runs)))]
        return
    for run in runs:
        cells = [column.formatter(column.value(run.usage)) for column in columns]
        yield [escape(run.name), *cells, escape(format_failures(run.usage.restarts))]


def _min_median_max(values: Sequence[float], formatter: Callable[[float | None], str]) -> str:
    if not values:
        return formatter(None)
    return " / ".join(map(formatter, (min(values), statistics.median(values), max(values))))


def _share_gpus(runs: Sequence[RunResult]) -> bool:
    hours = sum(run.usage.gpu_hours or 0 for run in runs)
    return hours > 1.0001 * (_total_gpu_hours(runs) or 0)


def _total_gpu_hours(runs: Iterable[RunResult]) -> float | None:
    return total_gpu_hours([timed for run in runs for timed in run.timed_attempts])
