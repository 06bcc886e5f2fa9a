"""Where runs run, as typed and checked values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from xray_hpc.schema import check


@dataclass(frozen=True)
class CpuJobConfig:
    """What a stage or collect job asks for: no GPU; ``partition`` may differ from the runs'."""

    partition: str | None = None
    time: str | int = 60
    cpus: int = 2
    mem: str | None = "8G"

    def __post_init__(self) -> None:
        minutes(self.time, "cluster.cpu_job.time")
        check(self.cpus >= 1, "cluster.cpu_job.cpus", self.cpus, "be 1 or more")
        check_memory(self.mem, "cluster.cpu_job.mem")


@dataclass(frozen=True)
class ClusterConfig:
    """Where runs run; none of it changes their results.

    ``kind``: ``local`` (processes on this machine), ``slurm``, ``auto`` (Slurm where there is
    ``sbatch``) or ``none`` (make the run folders, run nothing). ``time`` is minutes, or a text as
    Slurm takes it; ``mem`` a text as Slurm takes it; ``gpus`` counts per run. ``parallel`` limits
    how many runs go at once (local: 1 where it is null; Slurm: all).
    """

    kind: Literal["auto", "local", "slurm", "none"]
    parallel: int | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: str | int = 240
    gpus: int = 1
    cpus: int = 4
    mem: str | None = "16G"
    extra: dict[str, Any] | None = None
    setup: tuple[str, ...] = ()
    container: str | None = None
    python: str | None = None
    cpu_job: CpuJobConfig = field(default_factory=CpuJobConfig)

    def __post_init__(self) -> None:
        if self.parallel is not None:
            check(self.parallel >= 1, "cluster.parallel", self.parallel, "be 1 or more")
        minutes(self.time, "cluster.time")
        check(self.gpus >= 0, "cluster.gpus", self.gpus, "be 0 or more")
        check(self.cpus >= 1, "cluster.cpus", self.cpus, "be 1 or more")
        check_memory(self.mem, "cluster.mem")


def minutes(time: str | int, key: str) -> int:
    """A time limit in whole minutes, rounded up.

    Takes Slurm's forms: minutes, ``MM:SS``, ``HH:MM:SS``, ``D-HH``, ``D-HH:MM``, ``D-HH:MM:SS``.

    Raises:
        UserError: it has none of them, or is no time at all.
    """
    text = str(time)
    matched = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    check(matched is not None, key, text, "be minutes, HH:MM:SS or D-HH:MM:SS")
    assert matched is not None
    days, *parts = (None if part is None else int(part) for part in matched.groups())
    values = [part for part in parts if part is not None]
    if days is not None:
        hours, mins, seconds = [*values, 0, 0][:3]
    elif len(values) == 3:
        hours, mins, seconds = values
    else:
        hours, (mins, seconds) = 0, [*values, 0][:2]
    total = ((days or 0) * 24 + hours) * 60 + mins + -(-seconds // 60)
    check(total >= 1, key, text, "be a minute or more")
    return total


def check_memory(memory: str | None, key: str) -> None:
    """Raise ``UserError`` unless ``memory`` is a size as Slurm takes it, such as ``16G``."""
    fits = memory is None or re.fullmatch(r"[1-9]\d*([KMGT]B?)?", memory) is not None
    check(fits, key, memory, "be a size such as 500M or 16G")
