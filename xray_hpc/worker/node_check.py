"""Whether this node is fit to train on, looked at before a training starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.records.run_record import Failure
from xray_hpc.worker.resource_usage import GPU_PROGRAM, GPU_TIMEOUT, memory_group, memory_limit
from xray_hpc.worker.slurm_job import Job

MEBIBYTE = 2**20
SCRATCH_MEBIBYTES = 256
RESULTS_MEBIBYTES = 64
INODES = 100


@dataclass(frozen=True)
class Unfit:
    """What a training would fail on, and whose fault that is."""

    failure: Failure
    message: str


def look(results: Path, job: Job | None) -> Unfit | None:
    """What is wrong with this node, or with the folder ``results``; ``None`` where nothing is."""
    trouble = _scratch()
    if job is not None:
        trouble = _gpus(job) or _memory(job) or trouble
    if trouble is not None:
        return Unfit(Failure.NODE_FAILURE, trouble)
    trouble = space_trouble(results, RESULTS_MEBIBYTES)
    return Unfit(Failure.STORAGE, trouble) if trouble else None


def counts_gpus() -> bool:
    """Whether this node can tell how many NVIDIA GPUs it has."""
    return shutil.which(GPU_PROGRAM) is not None


def _gpus(job: Job) -> str | None:
    if not job.gpus or not counts_gpus():
        return None
    try:
        answer = subprocess.run(
            [GPU_PROGRAM, "-L"], capture_output=True, text=True, timeout=GPU_TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return f"{GPU_PROGRAM} does not answer"
    # A slice of a GPU is a line of its own, below its GPU's.
    seen = len(re.findall(r"^GPU \d+:", answer.stdout, re.MULTILINE))
    slices = len(re.findall(r"^\s+MIG ", answer.stdout, re.MULTILINE))
    if max(seen, slices) >= job.gpus:  # more where jobs are not confined to their own
        return None
    said = " ".join((answer.stderr or answer.stdout).split())[:200]
    why = f" ({GPU_PROGRAM}: {said})" if answer.returncode else ""
    return f"{seen} of {job.gpus} GPUs are to be seen{why}"


def _memory(job: Job) -> str | None:
    """Less than half of what was asked for: what others left behind, or never gave back."""
    if job.memory is None:
        return None
    available = _available_memory()
    limit = memory_limit(memory_group())
    for size, what in ((available, "available"), (limit, "allowed to this job")):
        if size is not None and size < job.memory / 2:
            return f"{size} MiB of memory are {what}; its job asked for {job.memory} MiB"
    return None


def _available_memory() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) // 1024 if found else None


def _scratch() -> str | None:
    folder = Path(os.environ.get("TMPDIR") or tempfile.gettempdir())
    return space_trouble(folder, SCRATCH_MEBIBYTES)


def space_trouble(folder: Path, mebibytes: int) -> str | None:
    """Why nothing of some size can be written to ``folder``, or ``None``."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
        found = os.statvfs(folder)
    except OSError as error:
        return f"{folder} cannot be written to ({error.strerror})"
    free = found.f_bavail * found.f_frsize // MEBIBYTE
    if free < mebibytes:
        return f"{folder} has {free} MiB left; {mebibytes} are needed"
    if found.f_files and found.f_favail < INODES:  # some file systems do not count them
        return f"{folder} has room for {found.f_favail} more files; {INODES} are needed"
    return None
