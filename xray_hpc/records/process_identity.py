"""What identifies a process on a host."""

from __future__ import annotations

import functools
import os
from pathlib import Path


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since the boot; ``None`` if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name, in brackets, may contain anything
    return None if fields[0] in ("Z", "X") else int(fields[19])


@functools.cache
def boot_id() -> str | None:
    """Return the identifier of this host's boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None


@functools.cache
def pid_namespace() -> str | None:
    """Return the identifier of this process's PID namespace."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None
