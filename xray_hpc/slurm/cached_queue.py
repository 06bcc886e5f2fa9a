"""Slurm's queue for one who asks again and again, and may get no answer."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Mapping

from xray_hpc.errors import NoClusterError, SlurmUnavailableError
from xray_hpc.slurm import client as slurm
from xray_hpc.slurm.client import QueuedJob

NO_CLUSTER = "this machine is of no Slurm cluster: which runs wait in its queue is not known here"


class CachedQueue:
    """The queue as it was last heard.

    ``jobs`` is ``None`` until the first answer. ``problem`` says since when there is none, and why;
    it is ``None`` after an answer.
    """

    def __init__(self) -> None:
        self.jobs: Mapping[str, QueuedJob] | None = None
        self.problem: str | None = None
        self._since: str | None = None

    def refresh(self, users: Collection[str] = ()) -> None:
        """Ask Slurm for one's own jobs and those of ``users``; keep the former answer for want."""
        if shutil.which("squeue") is None:
            self.problem = NO_CLUSTER
            return
        try:
            self.jobs = slurm.queued_jobs(users)
        except NoClusterError:
            self.problem = NO_CLUSTER
        except SlurmUnavailableError as error:
            self._since = self._since or time.strftime("%H:%M:%S")
            self.problem = self._excuse(error.reason)
        else:
            self.problem = self._since = None

    def _excuse(self, reason: str) -> str:
        known = "is not known" if self.jobs is None else "is shown as it was then"
        return f"since {self._since} Slurm does not answer ({reason}): the queue {known}"
