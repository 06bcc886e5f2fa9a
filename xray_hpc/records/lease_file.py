"""The files of a lease, and the process that owns it.

A lease is a folder of numbered files, readable on any file system that nodes share. The highest
number belongs to the current owner, which renews the modification time of its file. A process that
finds this owner dead creates the next number, which the file system lets only one process do.
Numbers are never reused, so that a process that is slow to decide cannot take a lease that has
changed hands in the meantime. A released lease has the modification time 0. A process that needs
the lease leaves a request, ``wanted.<job>.<restart>``.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import json
import os
import re
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.config.dataclass_conversion import build
from xray_hpc.errors import UserError
from xray_hpc.records.atomic_files import parse_json
from xray_hpc.records.run_record import now, user_name
from xray_hpc.regular_file import open_regular
from xray_hpc.shared_folder import create_file, share

EXPIRY_SECONDS = 60.0
LEASE_VARIABLE = "XRAY_HPC_LEASE"
"""Environment variable of a child: the file of the lease that its worker holds."""
RETRY_SECONDS = 0.01
MAX_BYTES = 1 << 14  # of a file; its longest names are those of a host, a user and a job
MAX_NUMBER = 10**9 - 1
# The file or a folder above it was removed, or another one has its place.
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})


@dataclass(frozen=True)
class LeaseOwner:
    """A process that holds a lease."""

    host: str
    user: str
    pid: int
    since: str  # when it acquired the lease, in UTC
    job: str | None = None  # None without Slurm
    node: str | None = None  # None without Slurm
    boot: str | None = None  # identifier of the host's boot
    namespace: str | None = None  # identifier of its PID namespace
    began: int | None = None  # when the process started, in clock ticks since the boot
    restarts: int = 0  # how often Slurm had requeued its job

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"process {self.pid} of {self.user} on {self.node or self.host}{job}"


UNKNOWN_OWNER = LeaseOwner(host="an unknown host", user="an unknown user", pid=0, since="")


@dataclass(frozen=True)
class LeaseState:
    """The newest file of a lease."""

    number: int = 0  # 0 if there is none
    renewed: int = 0  # its modification time in nanoseconds; 0 if the lease was released
    owner: LeaseOwner | None = None  # None if it is released or not yet written

    @property
    def alive(self) -> bool | None:
        """Whether the owner is alive; ``None`` if only its heartbeats can tell."""
        if self.renewed == 0:
            return False
        if self.owner is None or not is_local(self.owner):
            return None
        return self.owner.began is not None and start_time(self.owner.pid) == self.owner.began


def read_lease(path: Path) -> LeaseState:
    """Return the state of the lease in the folder ``path``.

    Of a file that cannot be read, or is something else than a file, the owner is unknown; as long
    as it is not renewed it expires as any other. Raise ``OSError`` if the folder cannot be read.
    """
    while numbers := lease_numbers(path):
        file = path / str(max(numbers))
        try:
            # Opening the file makes a file system that caches times fetch the current one.
            with open_regular(file) as opened:
                status = os.fstat(opened.fileno())
                renewed = status.st_mtime_ns
                owner = _parse_owner(opened.read(MAX_BYTES), file) if renewed else None
                if owner and status.st_uid != os.geteuid():
                    # It could name any process of this user, which a cancel would end.
                    owner = dataclasses.replace(owner, namespace=None)
                return LeaseState(max(numbers), renewed, owner)
        except OSError:
            try:
                return LeaseState(max(numbers), os.lstat(file).st_mtime_ns)
            except FileNotFoundError:  # the lease has just changed hands
                time.sleep(RETRY_SECONDS)
    return LeaseState()


def read_own_lease(file: Path, content: bytes) -> tuple[int, list[str]] | None:
    """Return when the lease of this process or its worker was renewed, and the names beside it.

    ``None`` if another process has the lease: the ``file`` is gone, or not the one with this
    ``content``, or there is one with a higher number. Raise ``OSError`` if it cannot be read.
    """
    try:
        with open_regular(file) as opened:
            renewed = os.fstat(opened.fileno()).st_mtime_ns
            if opened.read(len(content) + 1) != content:
                return None
        names = os.listdir(file.parent)
    except OSError as error:
        if error.errno in GONE:
            return None
        raise
    newest = max(numbers_in(names), default=0)
    return None if newest > int(file.name) else (renewed, names)


def current_owner(path: Path, *, expiry: float = EXPIRY_SECONDS) -> LeaseOwner | None:
    """Return the owner of the lease in ``path`` if it is alive.

    For an owner on another host this is an estimate, which needs the clocks to agree roughly: one
    whose last heartbeat is from the future counts as dead, as does one whose heartbeat is old, so
    that no wrong clock keeps a run from being launched. :meth:`Lease.acquire
    <xray_hpc.records.lease.Lease.acquire>` does not depend on clocks. Raise as :func:`read_lease`.
    """
    state = read_lease(path)
    alive = state.alive
    if alive is None:
        alive = abs(time.time() - state.renewed / 1e9) < expiry
    return (state.owner or UNKNOWN_OWNER) if alive else None


def lease_numbers(path: Path) -> list[int]:
    """Return the numbers of the files in ``path``, which may not exist."""
    try:
        return numbers_in(os.listdir(path))
    except FileNotFoundError:
        return []


def numbers_in(names: Iterable[str]) -> list[int]:
    """Return the numbers among the names of files; other names are ignored."""
    return [int(name) for name in names if re.fullmatch("[1-9][0-9]{0,8}", name)]


def request_lease(path: Path, job: str, restarts: int) -> int:
    """Request the lease from an earlier start of the job; return how many starts of it have."""
    create_file(path / f"wanted.{job}.{restarts}")
    return len(lease_requests(os.listdir(path), job))


def lease_requests(names: Iterable[str], job: str | None) -> dict[str, int]:
    """Return the restart count of each request of ``job``, by file name."""
    matches = ((name, re.fullmatch(r"wanted\.(.+)\.(\d+)", name)) for name in names)
    return {name: int(match[2]) for name, match in matches if match and match[1] == job}


def write_owner(file: Path, job: str | None, restarts: int) -> bytes:
    """Create a lease file that names this process, and return its content.

    Raises:
        FileExistsError: the file exists.
    """
    owner = LeaseOwner(
        host=socket.gethostname(),
        user=user_name(),
        pid=os.getpid(),
        since=now(),
        job=job,
        node=os.environ.get("SLURMD_NODENAME"),
        boot=boot_id(),
        namespace=pid_namespace(),
        began=start_time(os.getpid()),
        restarts=restarts,
    )
    content = f"{json.dumps(dataclasses.asdict(owner))}\n".encode()
    with file.open("xb") as opened:
        share(opened.fileno(), file.parent)
        try:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())  # an empty file would not tell whose it is
        except OSError:
            file.unlink()
            raise
    return content


def _parse_owner(content: bytes, file: Path) -> LeaseOwner | None:
    try:
        return build(LeaseOwner, parse_json(content, file), ignore_unknown=True)
    except UserError:  # damaged, or not fully written yet
        return None


def is_local(owner: LeaseOwner) -> bool:
    """Return whether this process can see the owner among the processes of its host."""
    here = (boot_id(), pid_namespace())
    same_host = None not in here and (owner.boot, owner.namespace) == here
    return same_host and owner.user == user_name()


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
