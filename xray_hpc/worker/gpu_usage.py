"""Utilization of the job's GPUs while a run trains, sampled with nvidia-smi."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading

NVIDIA_SMI = "nvidia-smi"
TIMEOUT_SECONDS = 60.0
SAMPLE_SECONDS = 30.0


class GpuUsage:
    """Sample the utilization of the job's GPUs every so many seconds; a context manager."""

    def __init__(self, enabled: bool, every: float = SAMPLE_SECONDS) -> None:
        self._enabled = enabled and has_nvidia_smi()
        self._every = every
        self._samples: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="gpu usage", daemon=True)

    def __enter__(self) -> GpuUsage:
        if self._enabled:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    @property
    def mean(self) -> float | None:
        """The mean utilization in percent over all samples and GPUs; ``None`` without samples."""
        samples = list(self._samples)
        return round(sum(samples) / len(samples), 1) if samples else None

    def _sample(self) -> None:
        while not self._ended.wait(self._every):
            self._samples += _utilization()


def has_nvidia_smi() -> bool:
    """Return whether this node can list and query NVIDIA GPUs."""
    return shutil.which(NVIDIA_SMI) is not None


def _utilization() -> list[float]:
    command = [NVIDIA_SMI, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        command.append(f"--id={visible}")
    try:
        output = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    # One line per GPU; a MIG slice reports [N/A].
    return [float(line) for line in output.split("\n") if re.fullmatch(r"\s*\d+\s*", line)]
