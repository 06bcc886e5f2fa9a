"""Sampling of GPU utilization with a fake nvidia-smi."""

from __future__ import annotations

import time

import pytest

from tests.fake_slurm import FakeSlurm
from xray_hpc.worker.gpu_usage import GpuUsage


def first_mean(usage: GpuUsage) -> float | None:
    """Return the mean after the first sample."""
    with usage:
        end = time.monotonic() + 60
        while usage.mean is None and time.monotonic() < end:
            time.sleep(0.01)
    return usage.mean


def test_gpu_usage_is_the_mean_of_all_gpus(site: FakeSlurm) -> None:
    site.answer("nvidia-smi", "--query-gpu=utilization.gpu *", "90\n45\n")
    assert first_mean(GpuUsage(True, every=0.01)) == 67.5


def test_gpu_usage_samples_only_the_gpus_of_the_job(
    site: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    site.answer("nvidia-smi", "* --id=2,3", "12\n")
    assert first_mean(GpuUsage(True, every=0.01)) == 12


def test_gpu_usage_skips_gpus_without_a_value(site: FakeSlurm) -> None:
    site.answer("nvidia-smi", "*", "[N/A]\n30\n")
    assert first_mean(GpuUsage(True, every=0.01)) == 30


def test_gpu_usage_is_not_sampled_without_gpus(site: FakeSlurm) -> None:
    site.act("nvidia-smi", "*", "exit 1")
    with GpuUsage(False, every=0.01) as usage:
        pass
    assert usage.mean is None
