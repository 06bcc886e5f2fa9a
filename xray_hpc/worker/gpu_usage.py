"""Utilization of the job's GPUs while a run trains, sampled with nvidia-smi."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator

NVIDIA_SMI = "nvidia-smi"
TIMEOUT_SECONDS = 60.0
SAMPLE_SECONDS = 30.0


@contextlib.contextmanager
def sample_gpu_usage(enabled: bool, every: float = SAMPLE_SECONDS) -> Iterator[list[float]]:
    """Yield a list that grows by the utilization of each GPU of the job, in percent."""
    samples: list[float] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(every):
            samples.extend(_utilization())

    if enabled and has_nvidia_smi():
        threading.Thread(target=sample, name="gpu usage", daemon=True).start()
    try:
        yield samples
    finally:
        ended.set()


def has_nvidia_smi() -> bool:
    """Return whether this node can list and query NVIDIA GPUs."""
    return shutil.which(NVIDIA_SMI) is not None


def _utilization() -> list[float]:
    command = [NVIDIA_SMI, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        command.append(f"--id={visible}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return []
    # One line per GPU; a MIG slice reports [N/A].
    return [float(line) for line in done.stdout.split("\n") if re.fullmatch(r"\s*\d+\s*", line)]
