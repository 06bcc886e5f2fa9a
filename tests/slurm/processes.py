"""Find and kill processes of this machine, such as those of a cluster's jobs."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

# The cgroup v1 controllers in which Slurm creates a folder for each node.
CONTROLLERS = ("freezer", "memory", "devices", "cpuset", "cpuacct")


def parent_of_processes() -> dict[int, int]:
    """Return the parent's id of every process on the machine, by process id."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # "pid (name) state parent ...", and a name may hold spaces and brackets
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
    return parents


def commands() -> Iterator[tuple[int, str]]:
    """Yield the process id and command line of every process on the machine."""
    for pid in parent_of_processes():
        with contextlib.suppress(OSError):
            yield pid, Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")


def kill_and_wait(pids: Iterable[int], seconds: float = 5.0) -> None:
    """``kill -9`` processes and wait until they have ended."""
    pids = list(pids)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def job_processes(conf: Path, nodes: Iterable[str]) -> list[int]:
    """Return the slurmstepds of a cluster, their descendants and the processes in its cgroups."""
    ours = f"SLURM_CONF={conf}".encode()
    parents = parent_of_processes()
    found = set()
    for pid in parents:
        with contextlib.suppress(OSError):
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            step = b"slurmstepd" in Path(f"/proc/{pid}/comm").read_bytes()
            in_job = any(item.startswith(b"SLURM_JOB_ID=") for item in environment)
            if ours in environment and (step or in_job):
                found.add(pid)
    for folder in cgroup_folders(nodes):
        with contextlib.suppress(OSError):
            found |= set(map(int, (folder / "cgroup.procs").read_text().split()))
    while children := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= children
    return sorted(found - {os.getpid(), os.getppid(), 0, 1})


def cgroup_folders(nodes: Iterable[str]) -> Iterator[Path]:
    """Yield the cgroups that Slurm created for these nodes, inner ones first."""
    for controller in CONTROLLERS:
        for node in nodes:
            top = Path("/sys/fs/cgroup") / controller / f"slurm_{node}"
            yield from sorted((path for path in top.glob("**/") if path.is_dir()), reverse=True)


def remove_cgroups(nodes: Iterable[str]) -> None:
    for folder in cgroup_folders(nodes):
        with contextlib.suppress(OSError):
            folder.rmdir()
