"""Check whether a node is fit for training before an attempt uses it."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

from xray_hpc.cgroup_memory import memory_cgroup, memory_limit
from xray_hpc.errors import NodeError, StorageError
from xray_hpc.worker.gpu_usage import NVIDIA_SMI, TIMEOUT_SECONDS, has_nvidia_smi
from xray_hpc.worker.slurm_job import SlurmJob

SCRATCH_MEBIBYTES = 256
RESULTS_MEBIBYTES = 64
MIN_INODES = 100
MEMINFO = Path("/proc/meminfo")


def check_node(results: Path, job: SlurmJob | None) -> None:
    """Check GPUs, memory and scratch space of this node, and space in the folder ``results``.

    Raises:
        NodeError: The node is unfit.
        StorageError: ``results`` is not writable, or nearly full.
    """
    scratch = Path(os.environ.get("TMPDIR") or tempfile.gettempdir())
    problem = disk_problem(scratch, SCRATCH_MEBIBYTES)
    if job is not None:
        problem = _gpu_problem(job) or _memory_problem(job) or problem
    if problem is not None:
        raise NodeError(problem)
    if problem := disk_problem(results, RESULTS_MEBIBYTES):
        raise StorageError(problem)


def _gpu_problem(job: SlurmJob) -> str | None:
    if not job.gpus or not has_nvidia_smi():
        return None
    command = [NVIDIA_SMI, "-L"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"{NVIDIA_SMI} does not respond"
    # MIG slices are listed on lines of their own, below their GPU.
    gpus = len(re.findall(r"^GPU \d+:", done.stdout, re.MULTILINE))
    slices = len(re.findall(r"^\s+MIG ", done.stdout, re.MULTILINE))
    if max(gpus, slices) >= job.gpus:  # more if the cluster does not confine jobs to their GPUs
        return None
    output = " ".join((done.stderr or done.stdout).split())[:200]
    details = f" ({NVIDIA_SMI}: {output})" if done.returncode else ""
    return f"only {gpus} of {job.gpus} GPUs are visible{details}"


def _memory_problem(job: SlurmJob) -> str | None:
    """Return a message if less than half of the requested memory is available."""
    if job.memory is None:
        return None
    try:
        meminfo = MEMINFO.read_text(encoding="utf-8")
    except OSError:
        meminfo = ""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo, re.MULTILINE)
    available = int(found[1]) // 1024 if found else None
    limit = memory_limit(memory_cgroup())
    for size, what in ((available, "available on the node"), (limit, "allowed in its cgroup")):
        if size is not None and size < job.memory / 2:
            return f"the job requested {job.memory} MiB of memory, but {size} MiB are {what}"
    return None


def disk_problem(folder: Path, mebibytes: int) -> str | None:
    """Return why ``mebibytes`` MiB cannot be written to ``folder``; ``None`` if they can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
        found = os.statvfs(folder)
    except OSError as error:
        return f"cannot write to {folder}: {error.strerror}"
    free = found.f_bavail * found.f_frsize // 2**20
    if free < mebibytes:
        return f"{folder} has {free} MiB of free space; {mebibytes} MiB are needed"
    if found.f_files and found.f_favail < MIN_INODES:  # some file systems do not count inodes
        return f"{folder} has {found.f_favail} free inodes; {MIN_INODES} are needed"
    return None
