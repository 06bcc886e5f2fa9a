"""Where runs execute, and with which resources; without effect on results."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Literal

from xray_hpc.config.dataclass_conversion import CommaList, check, check_least
from xray_hpc.config.sbatch_options import check_line, normalize_options

MOST_DIGITS = 9  # of a number in a time or a size; Slurm's have 32 bits


@dataclass(frozen=True)
class CpuJobConfig:
    """Resources of the jobs that store images and collect results; they use no GPU.

    Attributes:
        partition: Partition; unset: that of the runs.
        time (minutes): Time limit, as ``cluster.time``.
        cpus: CPU cores.
        mem: Memory per node; null: the cluster's default.
    """

    partition: CommaList | str | None = None
    time: str | int = 60
    cpus: int = 2
    mem: str | None = "8G"

    def __post_init__(self) -> None:
        check_line(self.partition, "cluster.cpu_job.partition")
        minutes(self.time, "cluster.cpu_job.time")
        check_least(1, "cluster.cpu_job.cpus", self.cpus)
        check_memory(self.mem, "cluster.cpu_job.mem")


Action = Literal["requeue", "exclude_node", "more_memory", "stop"]


@dataclass(frozen=True)
class FailureConfig:
    """What a job does about a run that ended early, by the cause.

    ``requeue``: requeue the run, which resumes from its last checkpoint. ``exclude_node``: the
    same, on another node. ``more_memory``: the same, with ``memory_factor`` times the memory.
    ``stop``: fail the run until it is launched again.

    Attributes:
        retries: Most requeues of a run for failures that it caused; preemptions, time limits and
            node failures do not count.
        out_of_memory: The kernel killed the run for lack of memory.
        gpu_out_of_memory: The GPU's memory was exhausted.
        time_limit: The job reached its time limit.
        preempted: Slurm preempted the job.
        node_failure: The node failed or is unfit.
        setup: A line of ``cluster.setup`` failed.
        bad_data: Images or weights are missing or damaged.
        nan_loss: Training diverged.
        storage: A file system is full, read-only or over quota.
        killed: The run was killed for an unknown reason.
        bug: Any other error.
        memory_factor: Factor by which ``more_memory`` raises the memory.
    """

    retries: int = 3
    out_of_memory: Action = "more_memory"
    gpu_out_of_memory: Action = "stop"
    time_limit: Action = "requeue"
    preempted: Action = "requeue"
    node_failure: Action = "exclude_node"
    setup: Action = "exclude_node"
    bad_data: Action = "stop"
    nan_loss: Action = "stop"
    storage: Action = "stop"
    killed: Action = "requeue"
    bug: Action = "stop"
    memory_factor: float = 1.5

    def __post_init__(self) -> None:
        check_least(0, "cluster.on_failure.retries", self.retries)
        factor = self.memory_factor
        check(factor > 1, "cluster.on_failure.memory_factor", factor, "be more than 1")


@dataclass(frozen=True)
class ClusterConfig:
    """Where runs execute; chosen with ``cluster=NAME``.

    Attributes:
        kind: ``local`` (processes on this machine), ``slurm``, ``auto`` (Slurm if this
            host belongs to a Slurm cluster, else local) or ``none`` (create the run folders and
            start nothing).
        parallel (runs): Most runs at once; unset: one locally, no limit on Slurm.
        partition: Slurm partition, or several, of which Slurm takes the first that is free:
            ``a,b``; unset: the cluster's default.
        account: Slurm account; unset: the user's default.
        qos: Slurm quality of service; unset: the default.
        constraint: Node features that a job requires.
        time (minutes): Time limit of a job; also ``HH:MM:SS`` or ``D-HH:MM:SS``.
        gpus: GPUs of a run, all on one node; the run trains on all of them.
        cpus: CPU cores of a run.
        mem: Memory of a run, such as ``16G``; null: the cluster's default.
        extra: Other sbatch options by their long names: ``{exclude: [node7, node8]}``; a type of
            GPU: ``{gpus-per-node: a100:2}``. Those on which the launch depends, or that a key
            sets, are refused.
        setup: Shell lines before a run, such as ``module load cuda``. A line that fails ends the
            attempt, unless it ends in ``|| true``. The launch runs them once as a check, unless
            they use ``$SLURM_...``.
        container: Command in front of ``python``: ``apptainer exec --nv ~/tensorflow.sif``. It
            needs the results folder and the environment variables of the job, but not Slurm.
        python: Python on the nodes; unset: that of the launch, in a container ``python``.
        snapshot: Run a copy of the code as it is at launch, stored with the sweep.
        runs_per_job (runs): Runs that one job executes.
        runs_per_gpu (runs): How many of them run side by side, sharing the job's GPUs.
        signal_time (s): How long before its time limit a job receives a signal and saves a
            checkpoint.
        check_node: Check GPUs, memory and disk of a node before training on it.
        on_failure: What to do about a run that ended early.
        cpu_job: Resources of the jobs that store images and collect results.
    """

    kind: Literal["auto", "local", "slurm", "none"]
    parallel: int | None = None
    partition: CommaList | str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: str | int = 240
    gpus: int = 1
    cpus: int = 4
    mem: str | None = "16G"
    extra: dict[str, CommaList | str | int | bool | None] | None = None
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
        check_least(1, "cluster.parallel", self.parallel)
        for key in ("partition", "account", "qos", "constraint", "container", "python"):
            check_line(getattr(self, key), f"cluster.{key}")
        minutes(self.time, "cluster.time")
        check_least(0, "cluster.gpus", self.gpus)
        check_least(1, "cluster.cpus", self.cpus)
        check_memory(self.mem, "cluster.mem")
        check_least(1, "cluster.runs_per_job", self.runs_per_job)
        sharing, most = self.runs_per_gpu, self.runs_per_job
        must = f"be 1 to cluster.runs_per_job={most}"
        check(1 <= sharing <= most, "cluster.runs_per_gpu", sharing, must)
        if self.parallel is not None:
            must = f"be cluster.runs_per_gpu={sharing} or more"
            check(self.parallel >= sharing, "cluster.parallel", self.parallel, must)
        for line in self.setup:
            shell = re.search(r"^#(SBATCH|PBS|BSUB)", line, re.MULTILINE) is None
            must = "be shell code; give sbatch options in cluster.extra"
            check(shell, "cluster.setup", repr(line), must)
        if self.extra:
            extra = normalize_options(self.extra, "cluster.extra")
            object.__setattr__(self, "extra", extra)
        seconds = self.signal_time
        check(0 <= seconds <= 65535, "cluster.signal_time", seconds, "be 0 to 65535 seconds")


def minutes(time: str | int, key: str) -> int:
    """Return a time limit in whole minutes, rounded up.

    Accepts Slurm's forms: minutes, ``MM:SS``, ``HH:MM:SS``, ``D-HH``, ``D-HH:MM``, ``D-HH:MM:SS``.

    Raises:
        ConfigError: The text has none of these forms, or is less than a minute.
    """
    text = str(time)
    number, sixty = rf"([0-9]{{1,{MOST_DIGITS}}})", "([0-5]?[0-9])"
    matched = re.fullmatch(rf"(?:{number}-)?{number}(?::{sixty})?(?::{sixty})?", text)
    must = "be minutes, HH:MM:SS or D-HH:MM:SS, with MM and SS up to 59"
    check(matched is not None, key, text, must)
    assert matched is not None
    days, *rest = matched.groups()
    parts = [int(part) for part in rest if part is not None]
    if days is None and len(parts) < 3:  # minutes come first, not hours
        parts.insert(0, 0)
    hours, mins, seconds = [*parts, 0, 0][:3]
    total = (int(days or 0) * 24 + hours) * 60 + mins + math.ceil(seconds / 60)
    check(total >= 1, key, text, "be a minute or more")
    return total


def check_memory(memory: str | None, key: str) -> None:
    """Raise ``ConfigError`` unless ``memory`` is a size in Slurm's format, such as ``16G``."""
    size = rf"[1-9][0-9]{{0,{MOST_DIGITS - 1}}}([KMGT]B?)?"
    fits = memory is None or re.fullmatch(size, memory) is not None
    check(fits, key, memory, "be a size such as 500M or 16G")
