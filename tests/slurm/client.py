"""A client for Slurm's commands in tests, for any cluster, with or without accounting."""

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

ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE"}
ENDED |= {"FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}


@dataclass(frozen=True)
class Slurm:
    """A cluster to submit to.

    Attributes:
        cluster: the throw-away cluster, whose nodes and daemons a test may kill; ``None`` on a
            site's cluster, whose nodes, partitions and GPUs are unknown and may be busy.
        environment: variables that make Slurm's commands use this cluster.
    """

    cluster: Cluster | None
    nodes: list[str]
    partition: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def throwaway(cls, cluster: Cluster) -> Slurm:
        """Return the client of a throw-away cluster."""
        return cls(cluster, cluster.nodes, "main", {"SLURM_CONF": str(cluster.conf)})

    @property
    def is_throwaway(self) -> bool:
        return self.cluster is not None

    def run(
        self, *command: str | Path, check: bool = True, timeout: float = 120, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; with ``check``, fail with its output if its exit code is not 0."""
        words = [str(word) for word in command]
        done: subprocess.CompletedProcess[str] = subprocess.run(
            words, capture_output=True, text=True, timeout=timeout, **options
        )
        if check and done.returncode != 0:
            shown = f"{words} -> {done.returncode}\n{done.stdout}{done.stderr}"
            raise AssertionError(shown)
        return done

    def submit(self, *arguments: str | Path, **options: Any) -> str:
        """Run ``sbatch`` with these arguments; return the job's id."""
        done = self.run("sbatch", "--parsable", *arguments, **options)
        return done.stdout.strip().partition(";")[0]

    def states(self, job: str) -> dict[str, str]:
        """Return the state of a job or of each array task: {"7": "RUNNING"}, {"7_0": ...}."""
        done = self.run("squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%i %T")
        return dict(line.split() for line in done.stdout.splitlines())

    def wait(self, job: str, timeout: float = 300) -> dict[str, str]:
        """Wait until a job, or every task of an array, has ended; return the last states."""
        return self._until(job, ENDED, timeout)

    def wait_for(self, job: str, state: str, timeout: float = 300) -> dict[str, str]:
        """Wait until a job, or every task of an array, is in ``state``; return the states."""
        return self._until(job, {state}, timeout)

    def wait_for_restart(self, job: str, timeout: float = 300) -> None:
        """Wait until Slurm has requeued a job once; it may be running again by then."""
        end = time.monotonic() + timeout
        while self.job(job)["Restarts"] != "1":
            assert time.monotonic() < end, f"job {job} has not restarted after {timeout:g} s"
            time.sleep(0.1)

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
        """Return the fields of ``scontrol show job``: JobState, ExitCode, NodeList..."""
        words = self.run("scontrol", "-o", "show", "job", job).stdout.split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def jobs(self) -> set[str]:
        """Return the ids of this user's jobs that have not ended (an array has one id)."""
        user = str(os.geteuid())
        done = self.run("squeue", "-h", "-u", user, "-o", "%A %F")
        return {line.split()[1] for line in done.stdout.splitlines()}

    def cancel(self, jobs: Iterable[str], timeout: float = 120) -> None:
        """Cancel these jobs and wait until they have ended; kill slow ones."""
        jobs = set(jobs)
        if not jobs:
            return
        self.run("scancel", *jobs, check=False)
        start = time.monotonic()
        while left := jobs & self.jobs():
            waited = time.monotonic() - start
            if waited > timeout:
                raise AssertionError(
                    f"jobs {sorted(left)} are still there {timeout:g} s after scancel"
                )
            if waited > 1:
                self.run("scancel", "--signal=KILL", "--full", *left, check=False)
            time.sleep(0.1)


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test; fail in CI, where the Slurm tests must run."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"CI must run the Slurm tests: {reason}", pytrace=False)
    pytest.skip(reason)
