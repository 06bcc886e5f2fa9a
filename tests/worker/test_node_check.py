"""Whether a node is fit to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xray_hpc.records.run_record import Failure
from xray_hpc.worker.node_check import look, space_trouble
from xray_hpc.worker.slurm_job import Job

TWO_GPUS = "GPU 0: NVIDIA A100 (UUID: GPU-1)\nGPU 1: NVIDIA A100 (UUID: GPU-2)\n"
SLICES = """\
GPU 0: NVIDIA A100 (UUID: GPU-1)
  MIG 1g.5gb     Device  0: (UUID: MIG-1)
  MIG 1g.5gb     Device  1: (UUID: MIG-2)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def job(**given: Any) -> Job:
    return Job("17", "node1", **given)


def test_a_node_with_what_was_asked_for_is_fit(site: Any, folder: Path) -> None:
    site.answer("nvidia-smi", "-L", TWO_GPUS)
    assert look(folder, job(gpus=2, memory=10)) is None
    assert look(folder, None) is None


def test_gpus_that_are_not_to_be_seen_are_the_nodes_fault(site: Any, folder: Path) -> None:
    site.answer("nvidia-smi", "-L", TWO_GPUS)
    unfit = look(folder, job(gpus=4))
    assert unfit is not None
    assert unfit.failure is Failure.NODE_FAILURE
    assert unfit.message == "2 of 4 GPUs are to be seen"


def test_what_the_driver_says_is_handed_on(site: Any, folder: Path) -> None:
    site.answer("nvidia-smi", "-L", "Unable to determine the device handle", code=9)
    unfit = look(folder, job(gpus=1))
    assert unfit is not None
    assert unfit.message == (
        "0 of 1 GPUs are to be seen (nvidia-smi: Unable to determine the device handle)"
    )


@pytest.mark.parametrize(("shown", "gpus"), [(TWO_GPUS, 1), (SLICES, 2)])
def test_more_gpus_than_asked_for_and_slices_of_one_are_fine(
    site: Any, folder: Path, shown: str, gpus: int
) -> None:
    site.answer("nvidia-smi", "-L", shown)
    assert look(folder, job(gpus=gpus)) is None


def test_a_job_without_gpus_does_not_need_any(site: Any, folder: Path) -> None:
    site.answer("nvidia-smi", "*", "", code=9)
    assert look(folder, job()) is None


def test_memory_that_others_hold_is_missed(folder: Path) -> None:
    unfit = look(folder, job(memory=2**40))
    assert unfit is not None
    assert unfit.message.endswith(f"; its job asked for {2**40} MiB")


def test_scratch_that_cannot_be_written_to_is_the_nodes_fault(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(folder / "missing"))
    unfit = look(folder, None)
    assert unfit is not None
    assert unfit.failure is Failure.NODE_FAILURE
    assert unfit.message == f"{folder}/missing cannot be written to (No such file or directory)"


def test_results_that_cannot_be_written_to_are_not(folder: Path) -> None:
    unfit = look(folder / "missing", None)
    assert unfit is not None
    assert unfit.failure is Failure.STORAGE


def test_room_that_is_missing_is_named(folder: Path) -> None:
    trouble = space_trouble(folder, 2**40)
    assert trouble is not None
    assert trouble.endswith(f"MiB left; {2**40} are needed")
