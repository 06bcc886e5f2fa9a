from __future__ import annotations

from typing import Any

import pytest

from xray_hpc.config.cluster_config import ClusterConfig, CpuJobConfig
from xray_hpc.launching.preflight.resource_request import ResourceRequest, cpu_request, gpu_request


def request(**keys: Any) -> ResourceRequest:
    return gpu_request(ClusterConfig("slurm", **keys))


def test_gpu_request_reads_the_configuration() -> None:
    requested = request(partition="gpu", time="1-12", mem="16G", gpus=2, cpus=8)
    assert (requested.partitions, requested.time, requested.memory) == (
        ("gpu",),
        36 * 60,
        16 * 1024,
    )
    assert (requested.gpus, requested.gpu_type, requested.cpus) == (2, None, 8)


def test_gpu_request_reads_a_gpu_type_from_extra() -> None:
    requested = request(gpus=1, extra={"gpus-per-node": "a100:3"})
    assert (requested.gpus, requested.gpu_type) == (3, "a100")
    assert requested.keys["gpus"] == "cluster.extra.gpus-per-node"


@pytest.mark.parametrize(("mem", "mebibytes"), [("2T", 2 * 1024**2), ("500MB", 500), (None, None)])
def test_gpu_request_converts_memory_to_mib(mem: str | None, mebibytes: int | None) -> None:
    assert request(mem=mem).memory == mebibytes


def test_cpu_request_has_its_own_partition_and_no_gpu() -> None:
    job = CpuJobConfig(partition="cpu", time=20, cpus=3, mem="1G")
    requested = cpu_request(ClusterConfig("slurm", partition="gpu", constraint="a100", cpu_job=job))
    assert (requested.partitions, requested.gpus, requested.constraint) == (("cpu",), 0, None)
    assert (requested.time, requested.cpus, requested.memory) == (20, 3, 1024)
    assert requested.keys["partition"] == "cluster.cpu_job.partition"
