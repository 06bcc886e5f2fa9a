"""What a try used."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from xray_hpc.worker.cgroup_memory import (
    job_ran_out_of_memory,
    memory_cgroup,
    memory_limit,
    oom_kill_count,
)
from xray_hpc.worker.gpu_usage import GpuUsage


def sampled(use: GpuUsage) -> float | None:
    with use:
        end = time.monotonic() + 60
        while use.mean is None and time.monotonic() < end:
            time.sleep(0.01)
    return use.mean


def test_the_use_of_all_gpus_is_averaged(site: Any) -> None:
    site.answer("nvidia-smi", "--query-gpu=utilization.gpu *", "90\n45\n")
    assert sampled(GpuUsage(True, every=0.01)) == 67.5


def test_only_the_gpus_of_this_job_are_looked_at(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    site.answer("nvidia-smi", "* --id=2,3", "12\n")
    assert sampled(GpuUsage(True, every=0.01)) == 12


def test_a_gpu_that_does_not_say_counts_for_nothing(site: Any) -> None:
    site.answer("nvidia-smi", "*", "[N/A]\n30\n")
    assert sampled(GpuUsage(True, every=0.01)) == 30


def test_without_gpus_nothing_is_asked(site: Any) -> None:
    site.act("nvidia-smi", "*", "exit 1")
    with GpuUsage(False, every=0.01) as use:
        pass
    assert use.mean is None


def test_memory_and_cpu_time_are_those_of_the_process_itself() -> None:
    code = """
import os, subprocess, sys
from xray_hpc.worker.training_process import resource_usage
work = "x = bytearray(200 * 2**20); sum(range(10**7))"
process = subprocess.Popen([sys.executable, "-c", work])
print(resource_usage(os.wait4(process.pid, 0)[2]))
os._exit(0)  # who waited by himself has nothing left to wait for
"""
    # From a small process, as a worker is: until it executes, a child is as large as its parent.
    said = subprocess.run([sys.executable, "-uc", code], capture_output=True, text=True).stdout
    used = ast.literal_eval(said)
    assert 200 <= used["peak_memory"] < 400
    assert used["cpu_seconds"] > 0


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """The control group of a job, with one for a task of its batch step."""
    folder = tmp_path / "uid_0" / "job_17"
    (folder / "step_batch" / "task_0").mkdir(parents=True)
    return folder


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(text + "\n")


V1_KILL = "oom_kill_disable 0\nunder_oom 0\noom_kill 2"
V2_KILL = "low 0\nhigh 0\nmax 105\noom 1\noom_kill 2\noom_group_kill 0"


@pytest.mark.parametrize("files", [{"oom_control": V1_KILL}, {"events": V2_KILL}])
def test_the_kernels_kills_are_counted(job: Path, files: dict[str, str]) -> None:
    write(job, **files)
    assert oom_kill_count(job) == 2


def test_without_control_groups_nothing_is_known(job: Path) -> None:
    assert oom_kill_count(None) == oom_kill_count(job) == 0
    assert not job_ran_out_of_memory(None)
    assert memory_limit(None) is None


def test_a_step_killed_for_memory_is_seen_from_another(job: Path) -> None:
    task = job / "step_batch" / "task_0"
    write(task, oom_control="oom_kill 0", limit_in_bytes="9223372036854771712")
    write(job, oom_control="oom_kill 0", limit_in_bytes="314572800")
    write(job, max_usage_in_bytes="314572800")
    assert job_ran_out_of_memory(task)
    write(job, max_usage_in_bytes="210000000")
    assert not job_ran_out_of_memory(task)
    write(job, events=V2_KILL)
    assert job_ran_out_of_memory(task)


def test_the_least_limit_holds(job: Path) -> None:
    task = job / "step_batch" / "task_0"
    write(task, limit_in_bytes="9223372036854771712")
    write(job, limit_in_bytes="314572800")
    assert memory_limit(task) == 300
    write(task, max="max")
    write(job.parent, max="104857600")
    assert memory_limit(task) == 100


def test_this_process_has_a_control_group_or_none() -> None:
    group = memory_cgroup()
    assert group is None or group.is_absolute()
