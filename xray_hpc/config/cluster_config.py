"""Where runs run, as typed and checked values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from xray_hpc.config.schema import check
from xray_hpc.errors import ConfigError

# Options of sbatch on which the order of a sweep's jobs and their ends depend.
RESERVED = ("array", "dependency", "signal", "output", "error", "open-mode")


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


Action = Literal["requeue", "exclude_node", "more_memory", "stop"]


@dataclass(frozen=True)
class FailureConfig:
    """Decide what a job does about a run that ended early, by cause of failure.

    ``requeue``: requeue the job; the run resumes from its last checkpoint. ``exclude_node``: the
    same, on another node. ``more_memory``: the same, with ``memory_factor`` times the memory.
    ``stop``: leave the run until somebody launches it again. A run is requeued at most ``retries``
    times for failures of its own; preemptions, time limits and bad nodes do not count.
    """

    retries: int = 3
    out_of_memory: Action = "more_memory"
    gpu_out_of_memory: Action = "stop"
    time_limit: Action = "requeue"
    preempted: Action = "requeue"
    node_failure: Action = "exclude_node"
    bad_data: Action = "stop"
    nan_loss: Action = "stop"
    storage: Action = "stop"
    killed: Action = "requeue"
    bug: Action = "stop"
    memory_factor: float = 1.5

    def __post_init__(self) -> None:
        check(self.retries >= 0, "cluster.on_failure.retries", self.retries, "be 0 or more")
        factor = self.memory_factor
        check(factor > 1, "cluster.on_failure.memory_factor", factor, "be more than 1")


@dataclass(frozen=True)
class ClusterConfig:
    """Where runs run; none of it changes their results.

    ``kind``: ``local`` (processes on this machine), ``slurm``, ``auto`` (Slurm where there is
    ``sbatch``) or ``none`` (make the run folders, run nothing). ``time`` is minutes, or a text as
    Slurm takes it; ``mem`` a text as Slurm takes it; ``gpus`` counts per run. ``parallel`` limits
    how many runs go at once (local: 1 where it is null; Slurm: all). A job works through
    ``runs_per_job`` runs, ``runs_per_gpu`` of them side by side. ``signal_time`` is how many
    seconds before its time limit a job receives a signal.
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
    snapshot: bool = False
    runs_per_job: int = 1
    runs_per_gpu: int = 1
    signal_time: int = 120
    check_node: bool = True
    on_failure: FailureConfig = field(default_factory=FailureConfig)
    cpu_job: CpuJobConfig = field(default_factory=CpuJobConfig)

    def __post_init__(self) -> None:
        if self.parallel is not None:
            check(self.parallel >= 1, "cluster.parallel", self.parallel, "be 1 or more")
        minutes(self.time, "cluster.time")
        check(self.gpus >= 0, "cluster.gpus", self.gpus, "be 0 or more")
        check(self.cpus >= 1, "cluster.cpus", self.cpus, "be 1 or more")
        check_memory(self.mem, "cluster.mem")
        check(self.runs_per_job >= 1, "cluster.runs_per_job", self.runs_per_job, "be 1 or more")
        check(
            1 <= self.runs_per_gpu <= self.runs_per_job,
            "cluster.runs_per_gpu",
            self.runs_per_gpu,
            f"be 1 to cluster.runs_per_job={self.runs_per_job}",
        )
        if self.parallel is not None:
            slots, most = f"cluster.runs_per_gpu={self.runs_per_gpu}", self.parallel
            check(most >= self.runs_per_gpu, "cluster.parallel", most, f"be {slots} or more")
        for option in self.extra or {}:
            if option in RESERVED:
                raise ConfigError(
                    f"cluster.extra.{option} is what a launch sets itself; leave it out"
                )
        check(
            0 <= self.signal_time <= 65535,
            "cluster.signal_time",
            self.signal_time,
            "be 0 to 65535 seconds",
        )


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
