"""Write nothing into a run folder whose lease another process has.

The worker holds the lease of the run and renews it. While it is stopped, or cannot reach the file
system, another process may take the run over and train it.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

from xray_hpc.errors import LeaseLostError
from xray_hpc.records import exit_codes
from xray_hpc.records.atomic_files import check_before_writes, is_gone
from xray_hpc.records.lease_file import EXPIRY_SECONDS, MAX_BYTES, read_own_lease
from xray_hpc.regular_file import read_regular

logger = logging.getLogger(__name__)

POLLS_IN_EXPIRY = 12
# After so many polls without a renewal this process ends: later than the worker ends it for the
# same reason, and before another process takes the lease.
SILENT_POLLS = 7


class LeaseWatch:
    """Checks the lease before each write of this process, and ends it when the worker is silent.

    Silence is counted in polls, not in seconds: Slurm may suspend the whole job, and then the
    worker needs a moment to renew the lease.
    """

    def __init__(self, file: Path, expiry: float = EXPIRY_SECONDS) -> None:
        self._file, self._run = file, file.parent.parent
        self._poll_seconds = expiry / POLLS_IN_EXPIRY
        self._renewed, self._silent = 0, 0
        try:
            self._content = read_regular(file, MAX_BYTES)
        except OSError:  # such as of a file that was taken since the worker started this process
            self._content = b""

    def start(self) -> None:
        """Begin to check."""
        check_before_writes(self.check)
        threading.Thread(target=self._watch, name="lease-watch", daemon=True).start()

    def check(self) -> int:
        """Return when the lease was renewed.

        Raises:
            LeaseLostError: another process has it.
            OSError: it cannot be read, or the run folder is gone.
        """
        if (found := read_own_lease(self._file, self._content)) is not None:
            return found[0]
        if is_gone(self._run):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._run))
        raise LeaseLostError(f"{self._run.name} is trained by another process; ending this one")

    def _watch(self) -> NoReturn:
        while self._silent < SILENT_POLLS:
            time.sleep(self._poll_seconds)
            try:
                renewed = self.check()
            except LeaseLostError as error:
                _exit(str(error), exit_codes.LEASE_HELD)
            except OSError:
                if is_gone(self._run):
                    os._exit(exit_codes.STORAGE_ERROR)  # the worker logs why
                renewed = self._renewed
            self._silent = self._silent + 1 if renewed == self._renewed else 0
            self._renewed = renewed
        problem = f"the worker of {self._run.name} does not renew the lease"
        _exit(f"{problem}; ending before another process trains the run", exit_codes.LEASE_HELD)


def _exit(message: str, code: int) -> NoReturn:
    # A worker that is stopped reads nothing, and writing into a full pipe would wait for it.
    if select.select([], [sys.stderr], [], 0)[1]:
        logger.error("%s", message)
    os._exit(code)
