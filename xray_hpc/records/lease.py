"""One owner at a time: a lease that its owner renews, on any file system that nodes share.

A lease is a folder of numbered files. The highest number is the present owner's; whoever finds that
owner dead makes the next number, which the file system lets one process do. Numbers are never used
twice, so nobody who was slow to decide can take what has changed hands since. The owner renews the
time of its file; a lease that is given back gets the time 0. Who needs it leaves a file that says
so, ``wanted.<job>.<start>``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.errors import LockedError
from xray_hpc.records.run_record import now, user_name

HEARTBEAT_SECONDS = 15.0
EXPIRY_SECONDS = 60.0
WATCH_SECONDS = 1.0
AGAIN_SECONDS = 0.01


@dataclass(frozen=True)
class LeaseOwner:
    """A process that holds a lease. ``boot`` and ``namespace`` say whose ``pid`` it is.

    ``began`` is when the process started, in the kernel's ticks since the boot; ``job`` and
    ``node`` are Slurm's, ``None`` outside of it, and ``restarts`` is how often Slurm had put the
    job back.
    """

    host: str
    user: str
    pid: int
    since: str
    job: str | None = None
    node: str | None = None
    boot: str | None = None
    namespace: str | None = None
    began: int | None = None
    restarts: int = 0

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"process {self.pid} of {self.user} on {self.node or self.host}{job}"


UNKNOWN = LeaseOwner(host="a host", user="somebody", pid=0, since="")


class LeaseError(LockedError):
    """Somebody else holds the lease: ``owner``."""

    def __init__(self, owner: LeaseOwner) -> None:
        super().__init__(f"held by {owner}")
        self.owner = owner


class Lease:
    """The right to write into a folder, renewed by a thread until it is given back.

    A context manager. ``lost`` must be asked before anything is written, and often enough while a
    child writes. ``requested`` is whether a later start of the same job asks for it: Slurm had lost
    this one's node, and then it is to end.
    """

    def __init__(
        self, file: Path, heartbeat: float, expiry: float, job: str | None, restarts: int
    ) -> None:
        self._file, self._heartbeat, self._expiry = file, heartbeat, expiry
        self._job, self._restarts = job, restarts
        self.requested = False
        self._renewed = time.monotonic()
        self._taken = False
        self._given_back = threading.Event()
        self._thread = threading.Thread(target=self._renew_on, name="lease", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(
        cls,
        path: Path,
        *,
        job: str | None = None,
        restarts: int = 0,
        heartbeat: float = HEARTBEAT_SECONDS,
        expiry: float = EXPIRY_SECONDS,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Lease:
        """Take the lease at ``path``, from a dead owner too; all who use it give one ``expiry``.

        It takes up to ``heartbeat`` seconds to see that an owner on another machine is alive, and
        ``expiry`` seconds that it is dead; ``should_stop`` is asked meanwhile.

        Raises:
            LeaseError: its owner is alive, or may be and it was given up.
            OSError: the file system does not let this process write there.
        """
        path.mkdir(parents=True, exist_ok=True)
        last = _watch(path, expiry, should_stop).number
        file = path / str(last + 1)
        try:
            _write_owner(file, job, restarts)
        except FileExistsError:
            raise LeaseError(_look(path).owner or UNKNOWN) from None
        newest = max(_numbers(path))
        if newest != last + 1:  # this process slept while others came and went
            file.unlink(missing_ok=True)
            raise LeaseError(_look(path).owner or UNKNOWN)
        for number in _numbers(path):
            if number < newest:
                (path / str(number)).unlink(missing_ok=True)
        for name in _asking(os.listdir(path), job):
            (path / name).unlink(missing_ok=True)
        return cls(file, heartbeat, expiry, job, restarts)

    @property
    def lost(self) -> bool:
        """Whether somebody has taken it, or may soon: it could not be renewed for too long."""
        if not self._taken and self._silent():
            # All of this process may have been suspended, and nobody have come since.
            self._renew()
        return self._taken or self._silent()

    def _silent(self) -> bool:
        return time.monotonic() - self._renewed > self._expiry / 2

    def _renew_on(self) -> None:
        while not self._given_back.wait(self._heartbeat) and not self._taken:
            self._renew()

    def _renew(self) -> None:
        before = time.monotonic()
        try:
            os.utime(self._file)
            names = os.listdir(self._file.parent)
            newest = max(int(name) for name in names if name.isdigit())
        except OSError as error:  # any other may be for a moment or for long: see _silent
            self._taken = error.errno in (errno.ENOENT, errno.ESTALE)
        else:
            self._taken = newest != int(self._file.name)
            self._renewed = before
            later = (start > self._restarts for start in _asking(names, self._job).values())
            self.requested = self.requested or any(later)

    def release(self) -> None:
        """Give it back; the next one need not wait."""
        self._given_back.set()
        self._thread.join(self._heartbeat)
        if not self._taken:
            with contextlib.suppress(OSError):  # then it expires
                os.utime(self._file, (0, 0))

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def current_owner(path: Path, *, expiry: float = EXPIRY_SECONDS) -> LeaseOwner | None:
    """The live owner of the lease at ``path``; ``None`` where there is none.

    Of an owner on another machine an estimate, for which this machine's clock must be about right;
    :meth:`Lease.acquire` does not rely on it.
    """
    seen = _look(path)
    alive = seen.alive
    if alive is None:
        alive = time.time() - seen.renewed / 1e9 < expiry
    return (seen.owner or UNKNOWN) if alive else None


def request_lease(path: Path, job: str, restarts: int) -> int:
    """Ask for the lease at ``path``; give how many starts of the job have, since it had it last.

    Only an earlier start of the same job hears it.
    """
    (path / f"wanted.{job}.{restarts}").touch()
    return len(_asking(os.listdir(path), job))


def _asking(names: Iterable[str], job: str | None) -> dict[str, int]:
    """The starts of a job that ask for a lease, by the names of their files."""
    read = ((name, re.fullmatch(r"wanted\.(.+)\.(\d+)", name)) for name in names)
    return {name: int(found[2]) for name, found in read if found and found[1] == job}


@dataclass(frozen=True)
class _Seen:
    """The newest file of a lease: its number (0: there is none), its time in ns, its owner."""

    number: int = 0
    renewed: int = 0
    owner: LeaseOwner | None = None

    @property
    def alive(self) -> bool | None:
        """Whether the owner lives; ``None``: that shows only by its heartbeats."""
        if self.renewed == 0:
            return False
        return _process_alive(self.owner) if self.owner and is_local(self.owner) else None


def _look(path: Path) -> _Seen:
    while numbers := _numbers(path):
        try:
            # Opened, so that a file system that remembers times for a while asks for this one.
            with (path / str(max(numbers))).open(encoding="utf-8") as file:
                renewed = os.fstat(file.fileno()).st_mtime_ns
                return _Seen(max(numbers), renewed, _parse_owner(file.read()) if renewed else None)
        except FileNotFoundError:  # it has just changed hands
            time.sleep(AGAIN_SECONDS)
    return _Seen()


def _watch(path: Path, expiry: float, should_stop: Callable[[], bool]) -> _Seen:
    """Watch the lease until its owner is seen to be dead or alive; give what was seen last.

    One that is not on this machine is dead after ``expiry`` seconds without a heartbeat, counted
    by this process: no two clocks are compared.

    Raises:
        LeaseError: it is alive, or may be and it was given up.
    """
    first, began = _look(path), time.monotonic()
    seen, waited = first, 0.0
    while seen.alive is None and seen == first and waited <= expiry:
        if should_stop():
            raise LeaseError(seen.owner or UNKNOWN)
        time.sleep(min(WATCH_SECONDS, expiry / 10))
        waited = time.monotonic() - began  # before the look, which then is of no earlier time
        seen = _look(path)
    if seen.alive or (seen.alive is None and seen != first):
        raise LeaseError(seen.owner or UNKNOWN)
    return seen


def _numbers(path: Path) -> list[int]:
    try:
        return [int(name) for name in os.listdir(path) if name.isdigit()]
    except FileNotFoundError:
        return []


def _write_owner(file: Path, job: str | None, restarts: int) -> None:
    owner = LeaseOwner(
        host=socket.gethostname(),
        user=user_name(),
        pid=os.getpid(),
        since=now(),
        job=job,
        node=os.environ.get("SLURMD_NODENAME"),
        boot=_boot(),
        namespace=_namespace(),
        began=_began(os.getpid()),
        restarts=restarts,
    )
    with file.open("x", encoding="utf-8") as opened:
        try:
            opened.write(json.dumps(dataclasses.asdict(owner)) + "\n")
            opened.flush()
            os.fsync(opened.fileno())  # nobody can tell whose an empty one is
        except OSError:
            file.unlink()
            raise


def _parse_owner(text: str) -> LeaseOwner | None:
    """The owner that a file names; ``None`` where it is not written out yet."""
    try:
        return LeaseOwner(**json.loads(text))
    except (ValueError, TypeError):
        return None


def is_local(owner: LeaseOwner) -> bool:
    """Whether this process would see the owner's among those of this machine."""
    mine = (_boot(), _namespace(), user_name())
    return None not in mine and (owner.boot, owner.namespace, owner.user) == mine


def _process_alive(owner: LeaseOwner) -> bool:
    return owner.began is not None and _began(owner.pid) == owner.began


def _began(pid: int) -> int | None:
    """When the process started; ``None`` where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # its name, in brackets, may hold anything
    return None if fields[0] in ("Z", "X") else int(fields[19])


@functools.cache
def _boot() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None


@functools.cache
def _namespace() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None
