"""The resources that a sweep's jobs request."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from xray_hpc.config.cluster_config import ClusterConfig, CpuJobConfig, minutes
from xray_hpc.config.dataclass_conversion import CommaList
from xray_hpc.slurm.units import parse_mebibytes


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
    time: int
    cpus: int
    memory: int | None
    gpus: int
    gpu_type: str | None
    keys: Mapping[str, str]


def gpu_request(cluster: ClusterConfig) -> ResourceRequest:
    """Return the request of the jobs that train."""
    request = _request(cluster, cluster, "cluster", cluster.partition)
    request = dataclasses.replace(request, constraint=cluster.constraint, gpus=cluster.gpus)
    typed = (cluster.extra or {}).get("gpus-per-node")
    if typed is None:
        return request
    gpu_type, _, gpus = str(typed).partition(":")
    keys = {**request.keys, "gpus": "cluster.extra.gpus-per-node"}
    return dataclasses.replace(request, gpus=int(gpus), gpu_type=gpu_type, keys=keys)


def cpu_request(cluster: ClusterConfig) -> ResourceRequest:
    """Return the request of the stage and collect jobs."""
    partition = cluster.cpu_job.partition
    request = _request(cluster, cluster.cpu_job, "cluster.cpu_job", partition or cluster.partition)
    if partition is not None:
        return request
    return dataclasses.replace(request, keys={**request.keys, "partition": "cluster.partition"})


def _request(
    cluster: ClusterConfig,
    resources: ClusterConfig | CpuJobConfig,
    section: str,
    partition: CommaList | str | None,
) -> ResourceRequest:
    """Return a request without GPUs for the resources of ``section``."""
    keys = {key: f"cluster.{key}" for key in ("account", "qos", "constraint", "gpus")}
    keys |= {key: f"{section}.{key}" for key in ("partition", "time", "cpus")}
    return ResourceRequest(
        partitions=tuple(str(partition).split(",")) if partition else (),
        account=cluster.account and cluster.account.lower(),
        qos=cluster.qos and cluster.qos.lower(),
        constraint=None,
        time=minutes(resources.time, keys["time"]),
        cpus=resources.cpus,
        memory=parse_mebibytes(resources.mem or ""),
        gpus=0,
        gpu_type=None,
        keys={**keys, "memory": f"{section}.mem"},
    )
