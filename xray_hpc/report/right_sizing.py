"""What the runs of a sweep could have asked less of, and how much would have done.

A request is spoken of where it was more than twice the most that any of the runs used, and that is
known of all that finished. What would do is that most and a quarter more, rounded up:

- memory to a multiple of a quarter of the power of two below it, of 256 MiB at least;
- time to a multiple of 5 minutes, of 15 from an hour and of 60 from four hours; 10 at least;
- CPUs and GPUs, whose use is a mean over the time, to whole ones.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from xray_hpc.records.run_record import Failure
from xray_hpc.report.formatting import duration, memory, percent
from xray_hpc.report.resource_usage import TimedAttempt
from xray_hpc.report.run_result import RunResult
from xray_hpc.slurm.units import format_memory

HEADROOM = 1.25
WASTE = 2.0
TWO_A_GPU = (
    "The GPUs were {} busy at most: `cluster.runs_per_job=2 cluster.runs_per_gpu=2` would train "
    "two runs at once on each, where its memory holds both."
)


@dataclass(frozen=True)
class JobAllocation:
    """What a job did between two visits to the queue: ``parts`` are tries of ``runs``.

    ``finished``: whether it finished one of them.
    """

    runs: Sequence[RunResult]
    parts: Sequence[TimedAttempt]
    finished: bool

    def asked(self, what: str) -> int | None:
        """The job's ``memory`` (MiB), ``time_limit`` (minutes), ``cpus`` or ``gpus``."""
        known = [value for part in self.parts if (value := getattr(part.of, what)) is not None]
        return max(known, default=None)

    def at_once(self, of: Callable[[TimedAttempt], float | None]) -> float | None:
        """The most that tries side by side had of something; ``None`` if one's is not known."""
        values = [of(part) for part in self.parts]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return None
        # The sum grows only where a try starts.
        return max(
            sum(
                value
                for other, value in zip(self.parts, known, strict=True)
                if other is part or other.start <= part.start < other.end
            )
            for part in self.parts
        )


def stays(runs: Iterable[RunResult]) -> list[JobAllocation]:
    """The stays of Slurm jobs that tried the runs, the newest last."""
    found: dict[object, list[tuple[RunResult, TimedAttempt]]] = defaultdict(list)
    for run in runs:
        for part in run.stretches:
            if part.of.job_id is not None:
                found[part.of.job_id, part.of.node, part.of.queued].append((run, part))
    known = [
        JobAllocation(
            [run for run, _ in members],
            [part for _, part in members],
            any(run.finished and part.of.failure is None for run, part in members),
        )
        for members in found.values()
    ]
    return sorted(known, key=lambda stay: min(part.start for part in stay.parts))


def _memory(stay: JobAllocation) -> float | None:
    """What was measured, and all that there was where that was too little."""
    short = any(part.of.failure == Failure.OUT_OF_MEMORY.value for part in stay.parts)
    peak = stay.at_once(lambda part: part.of.peak_memory)
    return max(peak or 0, stay.asked("memory") or 0) if short else peak


def _minutes(stay: JobAllocation) -> float | None:
    """Those of the stay, or of the longest of its runs if that was tried several times."""
    if any(run.usage.unended for run in stay.runs):
        return None
    whole = max(part.end for part in stay.parts) - min(part.start for part in stay.parts)
    return max(whole.total_seconds(), *(run.usage.seconds or 0 for run in stay.runs)) / 60


def _cpus(stay: JobAllocation) -> float | None:
    return stay.at_once(lambda part: part.busy_cpus)


def _gpus(stay: JobAllocation) -> float | None:
    used = [part.of.gpu_use for part in stay.parts]
    if None in used:
        return None
    return max(use for use in used if use is not None) / 100 * (stay.asked("gpus") or 0)


def enough_memory(used: float) -> int:
    """MiB to ask for where so many were used."""
    wanted = HEADROOM * used
    return _up(wanted, max(2 ** math.floor(math.log2(max(wanted, 1))) // 4, 256))


def enough_minutes(used: float) -> int:
    """Minutes to ask for where so many were used."""
    wanted = max(HEADROOM * used, 10)
    return _up(wanted, 5 if wanted < 60 else 15 if wanted < 240 else 60)


def enough_devices(used: float) -> int:
    """CPUs or GPUs to ask for where so many were busy."""
    return max(math.ceil(HEADROOM * used), 1)


def _up(value: float, step: int) -> int:
    return math.ceil(value / step) * step


@dataclass(frozen=True)
class Request:
    """A key of ``cluster``, and how what a try had and used of it is found and told.

    ``asked`` is the field of :class:`~xray_hpc.records.run_record.Attempt`; ``enough`` gives what
    would do for what was used, ``shown`` the command line's word for it.
    """

    key: str
    asked: str
    used: Callable[[JobAllocation], float | None]
    enough: Callable[[float], int]
    told: Callable[[float], str]
    shown: Callable[[int], str] = str


REQUESTS = (
    Request(
        *("mem", "memory", _memory, enough_memory),
        lambda x: f"{memory(x)} was the most used",
        format_memory,
    ),
    Request(
        *("time", "time_limit", _minutes, enough_minutes),
        lambda x: f"the longest took {duration(60 * x)}",
    ),
    Request("cpus", "cpus", _cpus, enough_devices, lambda x: f"{x:.2g} were busy at most"),
    Request("gpus", "gpus", _gpus, enough_devices, lambda x: f"{x:.2g} were busy at most"),
)


def advice(runs: Sequence[RunResult]) -> list[str]:
    """A sentence of Markdown for each request that was too large, for all the runs that made it.

    What is true of the whole sweep is said once; what is true of one model's runs, of those.
    """
    known = stays(runs)
    said = dict(_advice(known))
    lines = [f"{sentence}." for sentence in said.values()]
    if (use := _share_of_a_gpu(known)) and 2 * HEADROOM * use <= 1:
        lines.append(TWO_A_GPU.format(percent(use)))
    for model in dict.fromkeys(run.model for run in runs):
        of_model = [stay for stay in known if any(run.model == model for run in stay.runs)]
        lines += [
            f"{sentence} for `model={model}`."
            for key, sentence in _advice(of_model)
            if key not in said
        ]
    return lines


def _advice(known: Sequence[JobAllocation]) -> Iterator[tuple[str, str]]:
    for request in REQUESTS:
        asked = known[-1].asked(request.asked) if known else None
        most = _most(request, known)
        if not asked or most is None:
            continue
        would = request.enough(most)
        if asked > WASTE * most and would < asked:
            key = f"cluster.{request.key}"
            yield (
                key,
                (
                    f"`{key}={request.shown(asked)}` was asked for, {request.told(most)}: "
                    f"`{key}={request.shown(would)}` would do"
                ),
            )


def _most(request: Request, known: Sequence[JobAllocation]) -> float | None:
    """The most that any stay used; ``None`` if that of one which finished a run is not known."""
    if None in (finished := [request.used(stay) for stay in known if stay.finished]):
        return None
    others = [request.used(stay) for stay in known if not stay.finished]
    values = [value for value in (*finished, *others) if value is not None]
    return max(values) if finished else None


def _share_of_a_gpu(known: Sequence[JobAllocation]) -> float | None:
    """The most that any run had of the one GPU that it had to itself."""
    alone = all(stay.asked("gpus") == 1 and stay.at_once(lambda _: 1) == 1 for stay in known)
    return _most(REQUESTS[-1], known) if alone and len(known) > 1 else None
