"""A lease on a folder: one owner at a time, which renews the lease in a thread."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from xray_hpc.errors import DataError, LockedError
from xray_hpc.records.lease_file import (
    EXPIRY_SECONDS,
    GONE,
    MAX_NUMBER,
    UNKNOWN_OWNER,
    LeaseOwner,
    LeaseState,
    lease_requests,
    numbers_in,
    read_lease,
    read_own_lease,
    write_owner,
)
from xray_hpc.shared_folder import make_subfolder

HEARTBEAT_SECONDS = EXPIRY_SECONDS / 4
POLL_SECONDS = 1.0


class LeaseError(LockedError):
    """Another process holds the lease: ``owner``."""

    def __init__(self, owner: LeaseOwner) -> None:
        super().__init__(f"held by {owner}")
        self.owner = owner


class Lease:
    """The right to write to a folder, renewed by a thread until it is released.

    A context manager. Check ``lost`` before every write, and regularly while a child writes.
    ``requested`` tells that a later start of the same job waits for the lease: Slurm had lost this
    process's node, and the process should end. ``file`` is what a child reads of the lease.
    """

    def __init__(
        self,
        file: Path,
        content: bytes,
        heartbeat: float,
        expiry: float,
        job: str | None,
        restarts: int,
    ) -> None:
        self.file, self._content = file, content
        self._heartbeat, self._expiry = heartbeat, expiry
        self._job, self._restarts = job, restarts
        self.requested = False
        self._renewed = time.monotonic()
        self._taken = False
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
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
        """Acquire the lease in the folder ``path``, also from an owner that has died.

        It takes up to ``heartbeat`` seconds to see that an owner on another host is alive, and
        ``expiry`` seconds that it is dead.

        Args:
            path: folder of the lease; created if missing, but not the folder around it.
            job: this process's Slurm job.
            restarts: how often Slurm has requeued that job.
            heartbeat: seconds between two renewals.
            expiry: seconds without a renewal after which an owner is dead; all processes that use
                the lease must agree on it.
            should_stop: called while waiting; returns whether to give up.

        Raises:
            LeaseError: the owner is alive, or may be when ``should_stop`` returned true.
            DataError: ``path`` is not the folder of a lease.
            OSError: the file system does not let this process write to ``path``.
        """
        try:
            make_subfolder(path)
        except FileExistsError:
            raise DataError(f"{path} is not a folder; remove it and launch again") from None
        number = _wait_until_free(path, expiry, should_stop).number + 1
        if number > MAX_NUMBER:
            raise DataError(f"{path} is damaged: it holds {number - 1}; remove it and launch again")
        file = path / str(number)
        try:
            content = write_owner(file, job, restarts)
        except FileExistsError:
            raise LeaseError(read_lease(path).owner or UNKNOWN_OWNER) from None
        names = os.listdir(path)
        numbers = numbers_in(names)
        if any(other > number for other in numbers):  # while this process was suspended
            file.unlink(missing_ok=True)
            raise LeaseError(read_lease(path).owner or UNKNOWN_OWNER)
        old = [str(other) for other in numbers if other < number]
        for name in [*old, *lease_requests(names, job)]:
            with contextlib.suppress(OSError):  # a folder; neither counts any more
                (path / name).unlink()
        return cls(file, content, heartbeat, expiry, job, restarts)

    @property
    def lost(self) -> bool:
        """Whether another process holds the lease, or may soon because renewals have failed."""
        if not self._taken and self._is_overdue():
            # This process may have been suspended while no other process wanted the lease.
            self._renew()
        return self._taken or self._is_overdue()

    def _is_overdue(self) -> bool:
        return time.monotonic() - self._renewed > self._expiry / 2

    def _run(self) -> None:
        while not self._released.wait(self._heartbeat) and not self._taken:
            self._renew()

    def _renew(self) -> None:
        before = time.monotonic()
        try:
            if (found := read_own_lease(self.file, self._content)) is None:
                self._taken = True
                return
            # Fails if another process has removed the file meanwhile.
            os.utime(self.file, follow_symlinks=False)
        except OSError as error:  # other errors may be transient: see _is_overdue
            self._taken = error.errno in GONE
        else:
            self._renewed = before
            restarts = lease_requests(found[1], self._job).values()
            self.requested = self.requested or any(r > self._restarts for r in restarts)

    def release(self) -> None:
        """Release the lease, so that the next owner need not wait until it expires."""
        self._released.set()
        self._thread.join(self._heartbeat)
        if not self._taken:
            with contextlib.suppress(OSError):  # it will expire instead
                if read_own_lease(self.file, self._content) is not None:
                    os.utime(self.file, (0, 0), follow_symlinks=False)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _wait_until_free(path: Path, expiry: float, should_stop: Callable[[], bool]) -> LeaseState:
    """Watch the lease until its owner proves dead, and return its last state.

    An owner on another host is dead after ``expiry`` seconds without a heartbeat, measured by the
    clock of this process only. Raises as :meth:`Lease.acquire`.
    """
    first, start = read_lease(path), time.monotonic()
    state, waited = first, 0.0
    while state.alive is None and state == first and waited <= expiry:
        if should_stop():
            raise LeaseError(state.owner or UNKNOWN_OWNER)
        time.sleep(min(POLL_SECONDS, expiry / 10))
        waited = time.monotonic() - start  # before reading, so that the state is no older
        state = read_lease(path)
    if state.alive or (state.alive is None and state != first):
        raise LeaseError(state.owner or UNKNOWN_OWNER)
    return state
