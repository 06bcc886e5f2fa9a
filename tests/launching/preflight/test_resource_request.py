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


def test_gpu_request_prefers_the_options_of_extra() -> None:
    requested = request(partition="gpu", extra={"partition": "a,b", "time": 30})
    assert (requested.partitions, requested.time) == (("a", "b"), 30)
    assert requested.keys["partition"] == "cluster.extra.partition"


@pytest.mark.parametrize(
    ("extra", "gpus"),
    [
        ({"gpus-per-node": "a100:3"}, (3, "a100")),
        ({"gres": "gpu:4"}, (4, None)),
        ({"gres": "gpu:a100:2,nvme:1"}, (2, "a100")),
        ({"gres": "gpu:a100"}, (1, "a100")),
        ({"gpus-per-node": None}, (0, None)),
    ],
)
def test_gpu_request_reads_all_gpu_options(extra: dict[str, Any], gpus: Any) -> None:
    requested = request(extra=extra)
    assert (requested.gpus, requested.gpu_type) == gpus


@pytest.mark.parametrize(
    ("extra", "megabytes"),
    [
        ({"mem": "2T"}, 2 * 1024**2),
        ({"mem": 500}, 500),
        ({"mem": "500MB"}, 500),
        ({"mem": None, "mem-per-cpu": "2G"}, 4 * 2048),
        ({"mem": 0}, None),
        ({"mem": None}, None),
    ],
)
def test_gpu_request_converts_memory_to_mib_of_a_node(
    extra: dict[str, Any], megabytes: int | None
) -> None:
    assert request(extra=extra).memory == megabytes


def test_gpu_request_ignores_an_unlimited_time() -> None:
    assert request(extra={"time": "UNLIMITED"}).time is None


def test_cpu_request_has_its_own_partition_and_no_gpu() -> None:
    job = CpuJobConfig(partition="cpu", time=20, cpus=3, mem="1G")
    requested = cpu_request(ClusterConfig("slurm", partition="gpu", constraint="a100", cpu_job=job))
    assert (requested.partitions, requested.gpus, requested.constraint) == (("cpu",), 0, None)
    assert (requested.time, requested.cpus, requested.memory) == (20, 3, 1024)
    assert requested.keys["partition"] == "cluster.cpu_job.partition"
