"""A throw-away Slurm cluster that takes jobs and starts none, and a count of what it is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ABOUT = (
    "The cluster is a throw-away one of this machine (`tests/slurm/cluster.py`) that takes jobs "
    "and starts none; its daemons' time is in the wall clock only."
)
PROGRAMS = ("sbatch", "squeue", "scontrol", "sinfo", "sacctmgr", "sacct", "scancel", "srun")
ARRAY_SIZE = 1001  # Slurm's default
WAIT_SECONDS = 60.0


class SkippedError(Exception):
    """There is no cluster to be had here; the message is why."""


@dataclass(frozen=True)
class PausedCluster:
    """A cluster whose partition is down.

    ``environment`` makes Slurm's commands speak to it, and notes every call of one.
    """

    conf: Path
    noted: Path
    environment: dict[str, str]

    def ask(self, *command: str) -> str:
        """What a command of Slurm's prints; it is not noted.

        Raises:
            CalledProcessError: it failed.
        """
        environment = os.environ | {"SLURM_CONF": str(self.conf)}
        answer = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        )
        return answer.stdout

    def calls(self) -> Counter[str]:
        """How often each command was called so far."""
        return Counter(self.noted.read_text().split())

    def empty(self) -> None:
        """Cancel all jobs, and forget the calls."""
        self.ask("scancel", "--me")
        end = time.monotonic() + WAIT_SECONDS
        while self.ask("squeue", "--noheader"):
            if time.monotonic() > end:
                raise RuntimeError(f"jobs are still there {WAIT_SECONDS:g} s after scancel")
            time.sleep(0.1)
        self.noted.write_text("")


@contextmanager
def start_paused_cluster(folder: Path, *, array_size: int = ARRAY_SIZE) -> Iterator[PausedCluster]:
    """A cluster, gone after the block. ``array_size`` is its MaxArraySize.

    Raises:
        SkippedError: it needs programs or rights that are not there.
    """
    from tests.slurm.cluster import Cluster, missing_programs
    from tests.slurm.config_files import Size
    from tests.slurm.daemons import ClusterError

    if missing := missing_programs():
        raise SkippedError(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        raise SkippedError("a Slurm cluster of its own needs root")
    cluster = None
    try:
        try:
            cluster = Cluster.claim(Size(max_array_size=array_size))
            cluster.start()
        except ClusterError as error:
            raise SkippedError(str(error).splitlines()[0]) from error
        folder.mkdir(parents=True)
        noted = folder / "calls"
        noted.touch()
        path = f"{_noting(folder / 'bin', noted)}:{os.environ['PATH']}"
        environment = {"SLURM_CONF": str(cluster.conf), "PATH": path}
        closed = PausedCluster(cluster.conf, noted, environment)
        closed.ask("scontrol", "update", "PartitionName=main", "State=DOWN")
        yield closed
    finally:
        if cluster is not None:
            cluster.stop()


def _noting(folder: Path, noted: Path) -> Path:
    """Make a folder of programs that note their name and become the real ones."""
    folder.mkdir()
    for name in PROGRAMS:
        if real := shutil.which(name):
            program = folder / name
            program.write_text(f"#!/bin/sh\necho {name} >>'{noted}'\nexec '{real}' \"$@\"\n")
            program.chmod(0o755)
    return folder
