"""Whether a node is fit to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xray_hpc.records.run_record import Failure
from xray_hpc.worker.node_check import check_node, disk_problem
from xray_hpc.worker.slurm_job import SlurmJob

TWO_GPUS = "GPU 0: NVIDIA A100 (UUID: GPU-1)\nGPU 1: NVIDIA A100 (UUID: GPU-2)\n"
SLICES = """\
GPU 0: NVIDIA A100 (UUID: GPU-1)
  MIG 1g.5gb     Device  0: (UUID: MIG-1)
  MIG 1g.5gb     Device  1: (UUID: MIG-2)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def job(**given: Any) -> SlurmJob:
    return SlurmJob("17", "node1", **given)


def test_a_node_with_what_was_asked_for_is_fit(site: Any, folder: Path) -> None:
    site.answer("nvidia-smi", "-L", TWO_GPUS)
    assert check_node(folder, job(gpus=2, memory=10)) is None
    assert check_node(folder, None) is None


def test_gpus_that_are_not_to_be_seen_are_the_nodes_fault(site: Any, folder: Path) -> None:
    site.answer("nvidia-smi", "-L", TWO_GPUS)
    unfit = check_node(folder, job(gpus=4))
    assert unfit is not None
    assert unfit.failure is Failure.NODE_FAILURE
    assert unfit.message == "only 2 of 4 GPUs are visible"


def test_what_the_driver_says_is_handed_on(site: Any, folder: Path) -> None:
    site.answer("nvidia-smi", "-L", "Unable to determine the device handle", code=9)
    unfit = check_node(folder, job(gpus=1))
    assert unfit is not None
    assert unfit.message == (
        "only 0 of 1 GPUs are visible (nvidia-smi: Unable to determine the device handle)"
    )


@pytest.mark.parametrize(("shown", "gpus"), [(TWO_GPUS, 1), (SLICES, 2)])
def test_more_gpus_than_asked_for_and_slices_of_one_are_fine(
    site: Any, folder: Path, shown: str, gpus: int
) -> None:
    site.answer("nvidia-smi", "-L", shown)
    assert check_node(folder, job(gpus=gpus)) is None


def test_a_job_without_gpus_does_not_need_any(site: Any, folder: Path) -> None:
    site.answer("nvidia-smi", "*", "", code=9)
    assert check_node(folder, job()) is None


def test_memory_that_others_hold_is_missed(folder: Path) -> None:
    unfit = check_node(folder, job(memory=2**40))
    assert unfit is not None
    assert unfit.message.startswith(f"the job requested {2**40} MiB of memory")


def test_scratch_that_cannot_be_written_to_is_the_nodes_fault(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(folder / "missing"))
    unfit = check_node(folder, None)
    assert unfit is not None
    assert unfit.failure is Failure.NODE_FAILURE
    assert unfit.message == f"cannot write to {folder}/missing: No such file or directory"


def test_results_that_cannot_be_written_to_are_not(folder: Path) -> None:
    unfit = check_node(folder / "missing", None)
    assert unfit is not None
    assert unfit.failure is Failure.STORAGE


def test_room_that_is_missing_is_named(folder: Path) -> None:
    trouble = disk_problem(folder, 2**40)
    assert trouble is not None
    assert f"{2**40} MiB are needed" in trouble
