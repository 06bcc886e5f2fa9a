"""Whether a node is fit for training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fake_slurm import FakeSlurm
from xray_hpc.records.run_record import Failure
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
    assert check_node(tmp_path, slurm_job(gpus=2, memory=10)) is None
    assert check_node(tmp_path, None) is None


def test_check_node_reports_missing_gpus(site: FakeSlurm, tmp_path: Path) -> None:
    site.answer("nvidia-smi", "-L", TWO_GPUS)
    problem = check_node(tmp_path, slurm_job(gpus=4))
    assert problem is not None
    assert problem.failure is Failure.NODE_FAILURE
    assert "2 of 4 GPUs" in problem.message


def test_check_node_reports_the_error_of_the_driver(site: FakeSlurm, tmp_path: Path) -> None:
    error = "Unable to determine the device handle"
    site.answer("nvidia-smi", "-L", error, code=9)
    problem = check_node(tmp_path, slurm_job(gpus=1))
    assert problem is not None
    assert problem.message.endswith(f"(nvidia-smi: {error})")


@pytest.mark.parametrize(("listed", "gpus"), [(TWO_GPUS, 1), (TWO_MIG_SLICES, 2)])
def test_check_node_accepts_more_gpus_than_requested_and_mig_slices(
    site: FakeSlurm, tmp_path: Path, listed: str, gpus: int
) -> None:
    site.answer("nvidia-smi", "-L", listed)
    assert check_node(tmp_path, slurm_job(gpus=gpus)) is None


def test_check_node_does_not_look_for_gpus_without_a_request(
    site: FakeSlurm, tmp_path: Path
) -> None:
    site.answer("nvidia-smi", "*", "", code=9)
    assert check_node(tmp_path, slurm_job()) is None


def test_check_node_reports_missing_memory(tmp_path: Path) -> None:
    problem = check_node(tmp_path, slurm_job(memory=2**40))
    assert problem is not None
    assert problem.message.startswith(f"the job requested {2**40} MiB of memory")


def test_check_node_blames_the_node_for_unwritable_scratch_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    problem = check_node(tmp_path, None)
    assert problem is not None
    assert problem.failure is Failure.NODE_FAILURE
    assert f"{tmp_path}/missing" in problem.message


def test_check_node_does_not_blame_the_node_for_unwritable_results(tmp_path: Path) -> None:
    problem = check_node(tmp_path / "missing", None)
    assert problem is not None
    assert problem.failure is Failure.STORAGE


def test_disk_problem_names_the_space_that_is_needed(tmp_path: Path) -> None:
    problem = disk_problem(tmp_path, 2**40)
    assert problem is not None
    assert f"{2**40} MiB" in problem
