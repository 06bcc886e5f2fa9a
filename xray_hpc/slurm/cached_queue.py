"""Slurm's queue for repeated reads, which falls back to the last answer."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from xray_hpc.errors import NoClusterError, SlurmUnavailableError
from xray_hpc.slurm import client as slurm
from xray_hpc.slurm import proxy
from xray_hpc.slurm.client import QueuedJob

NO_CLUSTER = "No Slurm cluster found on this host, so the state of queued runs is unknown"


class CachedQueue:
    """The last known queue.

    Attributes:
        jobs: the jobs by id; ``None`` before the first answer.
        problem: why the last refresh failed, and since when; ``None`` after an answer.
    """

    def __init__(self) -> None:
        self.jobs: Mapping[str, QueuedJob] | None = None
        self.problem: str | None = None
        self._since: str | None = None

    def refresh(self, users: Collection[str] = ()) -> None:
        """Read the jobs of this user and of ``users``; keep the previous ones without an answer."""
        if not proxy.is_installed("squeue"):
            self.problem = NO_CLUSTER
            return
        try:
            self.jobs = slurm.queued_jobs(users)
        except NoClusterError:
            self.problem = NO_CLUSTER
        except SlurmUnavailableError as error:
            self._since = self._since or time.strftime("%H:%M:%S")
            self.problem = self._describe(error.reason)
        else:
            self.problem = self._since = None

    def _describe(self, reason: str) -> str:
        effect = "the queue is unknown" if self.jobs is None else "the queue shown is of that time"
        return f"Slurm has not answered since {self._since} ({reason}); {effect}"
