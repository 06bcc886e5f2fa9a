"""The resources that a sweep's jobs request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from xray_hpc.config.cluster_config import ClusterConfig, CpuJobConfig, minutes
from xray_hpc.slurm.units import parse_mebibytes

OPTIONS = {"cpus": "cpus-per-task", "gpus": "gpus-per-node"}  # the others have the key's name
GPU_OPTIONS = ("gpus-per-node", "gres", "gpus", "gpus-per-task")
UNLIMITED = ("0", "-1", "UNLIMITED", "INFINITE")


@dataclass(frozen=True)
class ResourceRequest:
    """The resources that a job requests; ``None`` where it requests none.

    Attributes:
        partitions: empty for the cluster's default partition.
        time: the time limit in minutes.
        memory: the memory per node in MiB.
        keys: for each field, the configuration key that set it.
    """

    partitions: tuple[str, ...]
    account: str | None
    qos: str | None
    constraint: str | None
    time: int | None
    cpus: int
    memory: int | None
    gpus: int
    gpu_type: str | None
    keys: Mapping[str, str]


def gpu_request(cluster: ClusterConfig) -> ResourceRequest:
    """Return the request of the jobs that train.

    Raises:
        ConfigError: a time limit is invalid.
    """
    keys = ("account", "qos", "partition", "constraint", "time", "cpus", "mem", "gpus")
    extra = {name: (f"cluster.extra.{name}", at) for name, at in (cluster.extra or {}).items()}
    return _request(_options("cluster", cluster, keys) | extra)


def cpu_request(cluster: ClusterConfig) -> ResourceRequest:
    """Return the request of the stage and collect jobs."""
    keys = ("time", "cpus", "mem", *(("partition",) if cluster.cpu_job.partition else ()))
    own = _options("cluster.cpu_job", cluster.cpu_job, keys)
    return _request(_options("cluster", cluster, ("account", "qos", "partition")) | own)


def _options(
    section: str, config: ClusterConfig | CpuJobConfig, keys: Iterable[str]
) -> dict[str, tuple[str, Any]]:
    """Return keys of a section as sbatch's long options, each with its full key and its value."""
    return {OPTIONS.get(key, key): (f"{section}.{key}", getattr(config, key)) for key in keys}


def _request(options: Mapping[str, tuple[str, Any]]) -> ResourceRequest:
    """Build a request from sbatch's long options, each given as (configuration key, value)."""
    keys = {name: key for name, (key, _) in options.items()}
    text = {name: None if at is None else str(at) for name, (_, at) in options.items()}
    number = text["cpus-per-task"] or ""
    cpus = int(number) if number.isdigit() else 1
    gpu_option, gpus, gpu_type = _gpus(text)
    memory_option, memory = _memory(text, cpus, gpus)
    keys["cpus"] = keys["cpus-per-task"]
    keys |= {"memory": keys.get(memory_option, ""), "gpus": keys.get(gpu_option, "")}
    time = text["time"]
    bounded = time is not None and time.upper() not in UNLIMITED
    account, qos = text["account"], text["qos"]
    return ResourceRequest(
        partitions=tuple((text["partition"] or "").split(",")) if text["partition"] else (),
        account=account and account.lower(),
        qos=qos and qos.lower(),
        constraint=text.get("constraint"),
        time=minutes(str(time), keys["time"]) if bounded else None,
        cpus=cpus,
        memory=memory,
        gpus=gpus,
        gpu_type=gpu_type,
        keys=keys,
    )


def _gpus(options: Mapping[str, str | None]) -> tuple[str, int, str | None]:
    """Return the option that requests GPUs, their number and their type."""
    for name in reversed(GPU_OPTIONS):
        pattern = r"^(?:([^:,]+):)?(\d+)$"
        if name == "gres":
            pattern = r"(?:^|,)gpu(?::([^:,\d][^:,]*))?(?::(\d+))?(?=,|$)"
        if found := re.search(pattern, options.get(name) or ""):
            return name, int(found[2] or 1), found[1]
    return "gpus-per-node", 0, None


def _memory(options: Mapping[str, str | None], cpus: int, gpus: int) -> tuple[str, int | None]:
    """Return the option that requests memory, and the memory per node in MiB."""
    for name, times in (("mem-per-cpu", cpus), ("mem-per-gpu", gpus), ("mem", 1)):
        if (size := parse_mebibytes(options.get(name) or "")) is not None:
            return name, size * times or None  # 0 requests all memory of a node
    return "mem", None
