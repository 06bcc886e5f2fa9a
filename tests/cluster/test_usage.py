"""What a try used."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import pytest

from xray_hpc.cluster.usage import GpuUse, oom_kills, process_usage


def sampled(use: GpuUse) -> float | None:
    with use:
        end = time.monotonic() + 60
        while use.mean is None and time.monotonic() < end:
            time.sleep(0.01)
    return use.mean


def test_the_use_of_all_gpus_is_averaged(site: Any) -> None:
    site.answer("nvidia-smi", "--query-gpu=utilization.gpu *", "90\n45\n")
    assert sampled(GpuUse(True, every=0.01)) == 67.5


def test_only_the_gpus_of_this_job_are_looked_at(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    site.answer("nvidia-smi", "* --id=2,3", "12\n")
    assert sampled(GpuUse(True, every=0.01)) == 12


def test_a_gpu_that_does_not_say_counts_for_nothing(site: Any) -> None:
    site.answer("nvidia-smi", "*", "[N/A]\n30\n")
    assert sampled(GpuUse(True, every=0.01)) == 30


def test_without_gpus_nothing_is_asked(site: Any) -> None:
    site.act("nvidia-smi", "*", "exit 1")
    with GpuUse(False, every=0.01) as use:
        pass
    assert use.mean is None


def test_memory_and_cpu_time_are_those_of_the_process_itself() -> None:
    code = "x = bytearray(200 * 2**20); sum(range(10**7))"
    process = subprocess.Popen([sys.executable, "-c", code])
    _, status, rusage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    used = process_usage(rusage)
    assert 200 <= used["peak_memory"] < 400
    assert used["cpu_seconds"] > 0


def test_nothing_was_killed_here_for_want_of_memory() -> None:
    assert oom_kills() == 0
