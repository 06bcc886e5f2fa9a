"""Start a temporary Slurm cluster that accepts jobs without starting them, and count its calls."""

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
    "The cluster is a temporary one on this machine (`tests/slurm/cluster.py`) that accepts jobs "
    "without starting them; the wall-clock time includes its daemons, the CPU time does not."
)
PROGRAMS = ("sbatch", "squeue", "scontrol", "sinfo", "sacctmgr", "sacct", "scancel", "srun")
ARRAY_SIZE = 1001  # Slurm's default
WAIT_SECONDS = 60.0


class SkippedError(Exception):
    """A benchmark cannot run here; the message is the reason."""


@dataclass(frozen=True)
class PausedCluster:
    """A cluster whose partition is down.

    Attributes:
        conf: path of slurm.conf.
        call_log: file with the names of the called commands.
        environment: variables that select the cluster and log every call of a command.
    """

    conf: Path
    call_log: Path
    environment: dict[str, str]

    def ask(self, *command: str) -> str:
        """Run a Slurm command without logging the call, and return its output.

        Raises:
            CalledProcessError: it failed.
        """
        environment = os.environ | {"SLURM_CONF": str(self.conf)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    def calls(self) -> Counter[str]:
        """Return the number of calls of each command."""
        return Counter(self.call_log.read_text().split())

    def empty(self) -> None:
        """Cancel all jobs, and clear the call log."""
        self.ask("scancel", "--me")
        end = time.monotonic() + WAIT_SECONDS
        while self.ask("squeue", "--noheader"):
            if time.monotonic() > end:
                raise RuntimeError(f"jobs are still queued {WAIT_SECONDS:g} s after scancel")
            time.sleep(0.1)
        self.call_log.write_text("")


@contextmanager
def start_paused_cluster(folder: Path, *, array_size: int = ARRAY_SIZE) -> Iterator[PausedCluster]:
    """Start a cluster with MaxArraySize ``array_size``, and stop it after the block.

    Raises:
        SkippedError: programs or permissions are missing.
    """
    from tests.slurm.cluster import Cluster, missing_programs
    from tests.slurm.config_files import Size
    from tests.slurm.daemons import ClusterError

    if missing := missing_programs():
        raise SkippedError(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        raise SkippedError("a temporary Slurm cluster needs root")
    cluster = None
    try:
        try:
            cluster = Cluster.claim(Size(max_array_size=array_size))
            cluster.start()
        except ClusterError as error:
            raise SkippedError(str(error).splitlines()[0]) from error
        folder.mkdir(parents=True)
        call_log = folder / "calls"
        call_log.touch()
        path = f"{_logging_programs(folder / 'bin', call_log)}:{os.environ['PATH']}"
        environment = {"SLURM_CONF": str(cluster.conf), "PATH": path}
        paused = PausedCluster(cluster.conf, call_log, environment)
        paused.ask("scontrol", "update", "PartitionName=main", "State=DOWN")
        yield paused
    finally:
        if cluster is not None:
            cluster.stop()


def _logging_programs(folder: Path, call_log: Path) -> Path:
    """Create programs that log their name and execute the real ones."""
    folder.mkdir()
    for name in PROGRAMS:
        if real := shutil.which(name):
            program = folder / name
            program.write_text(f"#!/bin/sh\necho {name} >>'{call_log}'\nexec '{real}' \"$@\"\n")
            program.chmod(0o755)
    return folder
