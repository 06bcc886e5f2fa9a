"""Sampling of GPU utilization with a fake nvidia-smi."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.fake_slurm import FakeSlurm
from xray_hpc.worker.gpu_usage import sample_gpu_usage


def first_samples() -> list[float]:
    """Return the utilization of each GPU at the first sample."""
    with sample_gpu_usage(True, every=0.01) as samples:
        end = time.monotonic() + 60
        while not samples and time.monotonic() < end:
            time.sleep(0.01)
    return samples


def test_sample_gpu_usage_samples_all_gpus(site: FakeSlurm) -> None:
    site.answer("nvidia-smi", "--query-gpu=utilization.gpu *", "90\n45\n")
    assert first_samples()[:2] == [90, 45]


def test_sample_gpu_usage_samples_only_the_gpus_of_the_job(
    site: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    site.answer("nvidia-smi", "* --id=2,3", "12\n")
    assert set(first_samples()) == {12}


def test_sample_gpu_usage_skips_gpus_without_a_value(site: FakeSlurm) -> None:
    site.answer("nvidia-smi", "*", "[N/A]\n30\n")
    assert set(first_samples()) == {30}


def test_sample_gpu_usage_can_be_disabled(site: FakeSlurm, tmp_path: Path) -> None:
    site.act("nvidia-smi", "*", f"touch {tmp_path}/called")
    with sample_gpu_usage(False, every=0.01) as samples:
        time.sleep(0.1)
    assert samples == []
    assert not (tmp_path / "called").exists()
