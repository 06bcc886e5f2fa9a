"""The report's section on what the runs used, and what could be asked less of."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from xray_hpc.report.formatting import causes, duration, hours, memory, percent
from xray_hpc.report.markdown import escape, table
from xray_hpc.report.resource_usage import Usage, hours_of, waiting
from xray_hpc.report.right_sizing import advice
from xray_hpc.report.run_result import RunResult
from xray_hpc.text import format_count

FEW = 20  # so many runs of a model are shown each; of more the least, the median and the most
MEANT = (
    "Times are those of all tries of a run. Memory is the most that the training held; GPU and CPU "
    "use are means over the time, of what the job had."
)
MANY = f"Of a model with more than {FEW} runs: the least / the median / the most."
LESS = "What was asked for was more than twice what any run used. Ask for less next time:"
SHARED = "Runs side by side share GPUs: that time counts once in the sum."


@dataclass(frozen=True)
class Column:
    """What of a run's :class:`Usage` is shown, and how."""

    head: str
    of: Callable[[Usage], float | None]
    shown: Callable[[float | None], str]


COLUMNS = (
    Column("wall-clock", lambda used: used.seconds, duration),
    Column("GPU-hours", lambda used: used.gpu_hours or None, hours),
    Column("GPU use", lambda used: used.gpu_use, percent),
    Column("CPU use", lambda used: used.cpu_use, percent),
    Column("waited", lambda used: used.waiting, duration),
    Column("of its time limit", lambda used: used.time_use, percent),
    Column("peak memory", lambda used: used.peak_memory, memory),
    Column("asked memory", lambda used: used.asked_memory, memory),
)


def used_section(runs: Sequence[RunResult]) -> list[str]:
    """The section's paragraphs; none where no run has been tried."""
    tried = [run for run in runs if run.usage.attempts]
    if not tried:
        return []
    models: dict[str, list[RunResult]] = {}
    for run in tried:
        models.setdefault(run.model, []).append(run)
    columns = [column for column in COLUMNS if _values(column, tried)]
    rows = [row for model, of_it in models.items() for row in _rows(model, of_it, columns)]
    heads = ["run", *(column.head for column in columns), "started again after"]
    if not any(row[-1] for row in rows):
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    many = any(len(of_it) > FEW for of_it in models.values())
    said = [_sentence(in_all(tried)), _unended(tried), _shared(tried), MEANT, MANY if many else ""]
    parts = [
        "## What the runs used",
        " ".join(sentence for sentence in said if sentence),
        table(heads, rows),
    ]
    if less := advice(runs):
        parts += [LESS, "\n".join(f"- {line}" for line in less)]
    return parts


def in_all(runs: Sequence[RunResult]) -> str:
    """What all runs used: ``12.3 GPU-hours, 45 min of waiting, 3.1G of memory at most``."""
    used = [run.usage for run in runs]
    spent = _total(runs)
    waited = waiting(one for run in runs if run.record for one in run.record.attempts)
    peak = max((one.peak_memory for one in used if one.peak_memory), default=None)
    restarts = sum((one.restarts for one in used), Counter[str]())
    said = [
        f"{hours(spent)} GPU-hours" if spent else "",
        f"{duration(waited)} of waiting" if waited else "",
        f"{memory(peak)} of memory at most" if peak else "",
        f"{format_count(restarts.total(), 'restart')} ({causes(restarts)})" if restarts else "",
    ]
    return ", ".join(part for part in said if part)


def _values(column: Column, runs: Sequence[RunResult]) -> list[float]:
    return [value for run in runs if (value := column.of(run.usage)) is not None]


def _rows(model: str, runs: Sequence[RunResult], columns: Sequence[Column]) -> Iterator[list[str]]:
    if len(runs) > FEW:
        restarts = sum((run.usage.restarts for run in runs), Counter[str]())
        cells = [_spread(_values(column, runs), column.shown) for column in columns]
        yield [f"{escape(model)}, {format_count(len(runs), 'run')}", *cells, causes(restarts)]
        return
    for run in runs:
        cells = [column.shown(column.of(run.usage)) for column in columns]
        yield [escape(run.name), *cells, causes(run.usage.restarts)]


def _spread(values: Sequence[float], shown: Callable[[float | None], str]) -> str:
    if not values:
        return shown(None)
    return " / ".join(map(shown, (min(values), statistics.median(values), max(values))))


def _sentence(used: str) -> str:
    return f"In all {used}." if used else ""


def _unended(runs: Sequence[RunResult]) -> str:
    count = sum(run.usage.unended for run in runs)
    return f"Tries of which no end is known, and which no time here holds: {count:,}." * bool(count)


def _shared(runs: Sequence[RunResult]) -> str:
    spent = [run.usage.gpu_hours or 0 for run in runs]
    return SHARED if sum(spent) > 1.0001 * (_total(runs) or 0) else ""


def _total(runs: Iterable[RunResult]) -> float | None:
    return hours_of([part for run in runs for part in run.stretches])
