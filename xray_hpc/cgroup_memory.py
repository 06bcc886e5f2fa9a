"""Memory limits and OOM kills of a job, mainly from its cgroup (version 1 or 2)."""

from __future__ import annotations

import contextlib
import os
import re
import resource
from collections.abc import Sequence
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


def memory_cgroup() -> Path | None:
    """Return the cgroup that accounts for the memory of this process."""
    try:
        text = Path("/proc/self/cgroup").read_text(encoding="utf-8")
    except OSError:
        return None
    groups: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        groups |= dict.fromkeys(controllers.split(","), path.lstrip("/"))
    if "memory" in groups:
        return CGROUP_ROOT / "memory" / groups["memory"]
    return CGROUP_ROOT / groups[""] if "" in groups else None


def oom_kill_count(cgroup: Path | None) -> int:
    """Return how many processes of the cgroup the OOM killer has killed; 0 if that is unknown."""
    if cgroup is None:
        return 0
    for name in ("memory.events", "memory.oom_control"):
        with contextlib.suppress(OSError):
            text = (cgroup / name).read_text(encoding="utf-8")
            if found := re.search(r"^oom_kill (\d+)$", text, re.MULTILINE):
                return int(found[1])
    return 0


def job_ran_out_of_memory(cgroup: Path | None) -> bool:
    """Return whether any step of the job hit its limit, from the cgroup of one of its processes.

    Version 1 counts only the kills in a group itself, not those in the groups below it, so the
    peak of the job is compared with its limit there.
    """
    for group in _with_parents(cgroup):
        if re.fullmatch(r"job_\d+", group.name):
            limit = _read_number(group / "memory.limit_in_bytes")
            peak = _read_number(group / "memory.max_usage_in_bytes")
            reached = limit is not None and peak is not None and peak >= limit
            return reached or oom_kill_count(group) > 0
    return False


def memory_limit(cgroup: Path | None) -> int | None:
    """Return the lowest limit in MiB of a cgroup and its parents; ``None`` if there is no limit."""
    names = ("memory.max", "memory.limit_in_bytes")
    limits = [_read_number(group / name) for group in _with_parents(cgroup) for name in names]
    return min((limit // 2**20 for limit in limits if limit is not None), default=None)


def available_memory() -> int:
    """Return the bytes of memory that this process may use.

    The least of the machine's memory, the request of the Slurm job, and the limits of the cgroup
    and of the address space (``ulimit -v``).
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    if (request := os.environ.get("SLURM_MEM_PER_NODE", "")).isdecimal() and int(request):
        limits.append(int(request) * 2**20)
    if (mebibytes := memory_limit(memory_cgroup())) is not None:
        limits.append(mebibytes * 2**20)
    if (space := resource.getrlimit(resource.RLIMIT_AS)[0]) != resource.RLIM_INFINITY:
        limits.append(space)
    return min(limits)


def _with_parents(cgroup: Path | None) -> Sequence[Path]:
    return [] if cgroup is None else [cgroup, *cgroup.parents]


def _read_number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # "max" means no limit
        return None
