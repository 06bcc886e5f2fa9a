"""What a test says to Slurm and hears from it, on any cluster, with or without accounting."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.slurm.cluster import Cluster

ENDED = frozenset(
    (
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "TIMEOUT",
    )
)


@dataclass(frozen=True)
class Slurm:
    """A cluster to submit to.

    ``cluster`` is the throw-away cluster of cluster.py, whose nodes and daemons a test may kill;
    None on a site's cluster, where nodes, partitions and GPUs are unknown and may be busy.
    ``environment`` is what the process environment must hold for Slurm's commands to speak to it.
    """

    cluster: Cluster | None
    nodes: list[str]
    partition: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def throwaway(cls, cluster: Cluster) -> Slurm:
        """The client of a throw-away cluster."""
        return cls(cluster, cluster.nodes, "main", {"SLURM_CONF": str(cluster.conf)})

    @property
    def own(self) -> bool:
        return self.cluster is not None

    def run(
        self, *command: str | Path, check: bool = True, timeout: float = 120, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; with ``check``, a failure shows what the command said."""
        words = [str(word) for word in command]
        done: subprocess.CompletedProcess[str] = subprocess.run(
            words, capture_output=True, text=True, timeout=timeout, **options
        )
        if check and done.returncode != 0:
            shown = f"{words} -> {done.returncode}\n{done.stdout}{done.stderr}"
            raise AssertionError(shown)
        return done

    def submit(self, *arguments: str | Path, **options: Any) -> str:
        """``sbatch`` with these arguments; the job's id."""
        done = self.run("sbatch", "--parsable", *arguments, **options)
        return done.stdout.strip().partition(";")[0]

    def states(self, job: str) -> dict[str, str]:
        """The state of a job, or of each task of an array: {"7": "RUNNING"}, {"7_0": ...}."""
        done = self.run("squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%i %T")
        return dict(line.split() for line in done.stdout.splitlines())

    def wait(self, job: str, timeout: float = 60) -> dict[str, str]:
        """Wait until a job, or every task of an array, has ended; the last states."""
        return self._until(job, ENDED, timeout)

    def wait_for(self, job: str, state: str, timeout: float = 60) -> dict[str, str]:
        """Wait until a job, or every task of an array, is in ``state``."""
        return self._until(job, {state}, timeout)

    def _until(self, job: str, wanted: Iterable[str], timeout: float) -> dict[str, str]:
        end = time.monotonic() + timeout
        while True:
            states = self.states(job)
            if states and set(states.values()) <= set(wanted):
                return states
            if time.monotonic() > end:
                queue = self.run("squeue", "-t", "all", check=False).stdout
                raise AssertionError(f"job {job} after {timeout:g} s: {states}\n{queue}")
            time.sleep(0.1)

    def job(self, job: str) -> dict[str, str]:
        """What ``scontrol show job`` says of one job or task: JobState, ExitCode, NodeList..."""
        words = self.run("scontrol", "-o", "show", "job", job).stdout.split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def jobs(self) -> set[str]:
        """The ids of this user's jobs that have not ended (an array counts as one)."""
        user = str(os.geteuid())
        done = self.run("squeue", "-h", "-u", user, "-o", "%A %F")
        return {line.split()[1] for line in done.stdout.splitlines()}

    def cancel(self, jobs: Iterable[str], timeout: float = 20) -> None:
        """Cancel these jobs and wait until they have ended; those slow to end are killed."""
        jobs = set(jobs)
        if not jobs:
            return
        self.run("scancel", *jobs, check=False)
        begin = time.monotonic()
        while left := jobs & self.jobs():
            waited = time.monotonic() - begin
            if waited > timeout:
                raise AssertionError(
                    f"jobs {sorted(left)} are still there {timeout:g} s after scancel"
                )
            if waited > 1:
                self.run("scancel", "--signal=KILL", "--full", *left, check=False)
            time.sleep(0.1)


def without(reason: str) -> NoReturn:
    """Skip; in CI these tests must run, so there it is a failure."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"CI must run the Slurm tests: {reason}", pytrace=False)
    pytest.skip(reason)
