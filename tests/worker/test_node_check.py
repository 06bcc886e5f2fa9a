"""Whether a node is fit for training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fake_slurm import FakeSlurm
from xray_hpc.errors import NodeError, StorageError
from xray_hpc.worker.node_check import check_node, disk_problem
from xray_hpc.worker.slurm_job import SlurmJob

TWO_GPUS = "GPU 0: NVIDIA A100 (UUID: GPU-1)\nGPU 1: NVIDIA A100 (UUID: GPU-2)\n"
TWO_MIG_SLICES = """\
GPU 0: NVIDIA A100 (UUID: GPU-1)
  MIG 1g.5gb     Device  0: (UUID: MIG-1)
  MIG 1g.5gb     Device  1: (UUID: MIG-2)
"""


def slurm_job(**resources: Any) -> SlurmJob:
    return SlurmJob("17", "node1", **resources)


def test_check_node_accepts_a_node_with_the_requested_resources(
    site: FakeSlurm, tmp_path: Path
) -> None:
    site.answer("nvidia-smi", "-L", TWO_GPUS)
    check_node(tmp_path, slurm_job(gpus=2, memory=10))
    check_node(tmp_path, None)


def test_check_node_reports_missing_gpus(site: FakeSlurm, tmp_path: Path) -> None:
    site.answer("nvidia-smi", "-L", TWO_GPUS)
    with pytest.raises(NodeError, match="2 of 4 GPUs"):
        check_node(tmp_path, slurm_job(gpus=4))


def test_check_node_reports_the_error_of_the_driver(site: FakeSlurm, tmp_path: Path) -> None:
    error = "Unable to determine the device handle"
    site.answer("nvidia-smi", "-L", error, code=9)
    with pytest.raises(NodeError, match=error):
        check_node(tmp_path, slurm_job(gpus=1))


@pytest.mark.parametrize(("listed", "gpus"), [(TWO_GPUS, 1), (TWO_MIG_SLICES, 2)])
def test_check_node_accepts_more_gpus_than_requested_and_mig_slices(
    site: FakeSlurm, tmp_path: Path, listed: str, gpus: int
) -> None:
    site.answer("nvidia-smi", "-L", listed)
    check_node(tmp_path, slurm_job(gpus=gpus))


def test_check_node_does_not_look_for_gpus_without_a_request(
    site: FakeSlurm, tmp_path: Path
) -> None:
    site.answer("nvidia-smi", "*", "", code=9)
    check_node(tmp_path, slurm_job())


def test_check_node_reports_missing_memory(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=f"{2**40} MiB of memory"):
        check_node(tmp_path, slurm_job(memory=2**40))


def test_check_node_accepts_unreadable_meminfo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xray_hpc.worker.node_check.MEMINFO", tmp_path / "absent")
    check_node(tmp_path, slurm_job(memory=10))


def test_check_node_blames_the_node_for_unwritable_scratch_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    with pytest.raises(NodeError, match=f"{tmp_path}/missing"):
        check_node(tmp_path, None)


def test_check_node_does_not_blame_the_node_for_unwritable_results(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        check_node(tmp_path / "missing", None)


def test_disk_problem_names_the_space_that_is_needed(tmp_path: Path) -> None:
    problem = disk_problem(tmp_path, 2**40)
    assert problem is not None
    assert f"{2**40} MiB" in problem
