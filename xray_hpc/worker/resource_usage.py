"""What a try used of what its job was given: memory, CPU time, GPUs."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")
V1_PEAK = "memory.max_usage_in_bytes"
GPU_PROGRAM = "nvidia-smi"
GPU_SECONDS = 30.0
GPU_TIMEOUT = 60.0


class GpuUse:
    """Ask every ``GPU_SECONDS`` how busy this job's GPUs are, while it is entered.

    Where there is no ``nvidia-smi``, or it does not say, ``mean`` is ``None``.
    """

    def __init__(self, wanted: bool, every: float = GPU_SECONDS) -> None:
        self._wanted = wanted and shutil.which(GPU_PROGRAM) is not None
        self._every = every
        self._samples: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample_on, name="gpu use", daemon=True)

    def __enter__(self) -> GpuUse:
        if self._wanted:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    @property
    def mean(self) -> float | None:
        """The mean percentage over all samples of all GPUs."""
        samples = list(self._samples)
        return round(sum(samples) / len(samples), 1) if samples else None

    def _sample_on(self) -> None:
        while not self._ended.wait(self._every):
            self._samples += _gpu_use()


def _gpu_use() -> list[float]:
    command = [GPU_PROGRAM, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        command.append(f"--id={visible}")
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=GPU_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return []
    # One line a GPU; a slice of a GPU says [N/A].
    return [float(line) for line in answer.stdout.split("\n") if re.fullmatch(r"\s*\d+\s*", line)]


def process_usage(rusage: Any) -> dict[str, Any]:
    """``peak_memory`` (MiB) and ``cpu_seconds`` of an ended process, from what ``wait4`` says.

    A control group's own peak is not used: it counts cached files too, which no job must ask for.
    """
    return {
        "peak_memory": round(rusage.ru_maxrss / 1024),
        "cpu_seconds": round(rusage.ru_utime + rusage.ru_stime, 1),
    }


def oom_kills(group: Path | None) -> int:
    """How often the kernel has killed in a control group for want of memory."""
    return 0 if group is None else _killed(group) or 0


def job_out_of_memory(group: Path | None) -> bool:
    """Whether any process of the job hit the limit of its memory, in whatever step.

    ``group`` is that of one of the job's processes. Version 1 of control groups counts the kills
    of a group itself only, so there the job's highest use is looked at.
    """
    for folder in _upwards(group):
        if re.fullmatch(r"job_\d+", folder.name):
            limit, peak = _number(folder / "memory.limit_in_bytes"), _number(folder / V1_PEAK)
            hit = limit is not None and peak is not None and peak >= limit
            return hit or bool(_killed(folder))
    return False


def memory_limit(group: Path | None) -> int | None:
    """The least limit in MiB of a control group and those above it; ``None`` without any."""
    names = ("memory.max", "memory.limit_in_bytes")
    limits = [_number(folder / name) for folder in _upwards(group) for name in names]
    return min((limit // 2**20 for limit in limits if limit is not None), default=None)


def _upwards(group: Path | None) -> Sequence[Path]:
    return [] if group is None else [group, *group.parents]


def _killed(group: Path) -> int | None:
    for name in ("memory.events", "memory.oom_control"):
        with contextlib.suppress(OSError):
            text = (group / name).read_text(encoding="utf-8")
            if found := re.search(r"^oom_kill (\d+)$", text, re.MULTILINE):
                return int(found[1])
    return None


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # "max" stands for none
        return None


def memory_group() -> Path | None:
    """The control group, of version 1 or 2, that counts the memory of this process."""
    try:
        text = Path("/proc/self/cgroup").read_text(encoding="utf-8")
    except OSError:
        return None
    groups = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = path.lstrip("/")
    if "memory" in groups:
        return CGROUPS / "memory" / groups["memory"]
    return CGROUPS / groups[""] if "" in groups else None
