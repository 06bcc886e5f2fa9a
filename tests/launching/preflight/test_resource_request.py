"""What jobs ask for, by whichever way it was said."""

from __future__ import annotations

from typing import Any

import pytest

from xray_hpc.config.cluster_config import ClusterConfig, CpuJobConfig
from xray_hpc.launching.preflight.resource_request import Demand, cpu_demand, runs_demand


@pytest.fixture(autouse=True)
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SBATCH_PARTITION", "SBATCH_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)


def demand(**keys: Any) -> Demand:
    return runs_demand(ClusterConfig("slurm", **keys))


def test_what_the_configuration_says_is_asked_for() -> None:
    asked = demand(partition="gpu", time="1-12", mem="16G", gpus=2, cpus=8)
    assert (asked.partitions, asked.time, asked.memory) == (("gpu",), 36 * 60, 16 * 1024)
    assert (asked.gpus, asked.gpu_type, asked.cpus) == (2, None, 8)


def test_options_of_extra_stand_above_it_and_are_named() -> None:
    asked = demand(partition="gpu", extra={"partition": "a,b", "time": 30, "cpus-per-task": 2})
    assert (asked.partitions, asked.time, asked.cpus) == (("a", "b"), 30, 2)
    assert asked.keys["partition"] == "cluster.extra.partition"


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
def test_gpus_are_asked_for_in_slurms_ways(extra: dict[str, Any], gpus: Any) -> None:
    asked = demand(extra=extra)
    assert (asked.gpus, asked.gpu_type) == gpus


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
def test_memory_is_that_of_a_node(extra: dict[str, Any], megabytes: int | None) -> None:
    assert demand(extra=extra).memory == megabytes


def test_a_time_without_end_is_no_demand() -> None:
    assert demand(extra={"time": "UNLIMITED"}).time is None


def test_what_sbatch_takes_from_the_environment_stands_above_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "mine")
    asked = demand(partition="gpu")
    assert (asked.partitions, asked.keys["partition"]) == (("mine",), "SBATCH_PARTITION")


def test_but_not_that_of_a_surrounding_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "mine")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert demand(partition="gpu").partitions == ("gpu",)


def test_a_job_that_packs_asks_for_no_gpu_and_has_its_own_partition() -> None:
    job = CpuJobConfig(partition="cpu", time=20, cpus=3, mem="1G")
    asked = cpu_demand(ClusterConfig("slurm", partition="gpu", constraint="a100", cpu_job=job))
    assert (asked.partitions, asked.gpus, asked.constraint) == (("cpu",), 0, None)
    assert (asked.time, asked.cpus, asked.memory) == (20, 3, 1024)
    assert asked.keys["partition"] == "cluster.cpu_job.partition"
