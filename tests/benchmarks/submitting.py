"""How long launching onto Slurm takes, with a real ``sbatch`` and nothing trained."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sweeps
from measuring import REPOSITORY
from table import Table

WAIT_SECONDS = 30.0


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """One table: launching with ``cluster=slurm`` onto a cluster that starts no job."""
    table = Table(
        "Launching on Slurm",
        "The same with `cluster=slurm` and a real `sbatch`: a stage job, an array of all runs and "
        "a collect job. The cluster is a throw-away one of this machine "
        "(`tests/slurm/cluster.py`) that takes jobs and starts none. Its daemons' time is in the "
        f"wall clock only. {sweeps.ABOUT}",
        sweeps.COLUMNS,
    )
    with _closed_cluster() as found:
        if isinstance(found, str):
            table.rows.append((f"left out: {found}", *["-"] * (len(sweeps.COLUMNS) - 1)))
            yield table
            return
        for size in sweeps.SIZES:
            new, again = [], []
            for i in range(repeat):
                results = folder / f"slurm-{size}-{i}"
                new.append(sweeps.launch(results, size, "slurm", SLURM_CONF=found["SLURM_CONF"]))
                again.append(sweeps.launch(results, size, "slurm", SLURM_CONF=found["SLURM_CONF"]))
                _empty_queue(found)
            table.rows.append(sweeps.row("new", size, new))
            table.rows.append(sweeps.row("the same again, all waiting", size, again))
    yield table


@contextmanager
def _closed_cluster() -> Iterator[dict[str, str] | str]:
    """The environment of a cluster whose partition is down, or why there is none."""
    sys.path.append(str(REPOSITORY / "tests" / "slurm"))
    from cluster import Cluster, ClusterError, missing_programs

    if missing := missing_programs():
        yield f"not installed: {', '.join(missing)}"
        return
    if os.geteuid() != 0:
        yield "a Slurm cluster of its own needs root"
        return
    cluster = None
    try:
        try:
            cluster = Cluster.claim()
            cluster.start()
        except ClusterError as error:
            yield str(error).splitlines()[0]
            return
        environment = {"SLURM_CONF": str(cluster.conf)}
        _slurm(environment, "scontrol", "update", "PartitionName=main", "State=DOWN")
        yield environment
    finally:
        if cluster is not None:
            cluster.stop()


def _empty_queue(environment: dict[str, str]) -> None:
    _slurm(environment, "scancel", "--me")
    end = time.monotonic() + WAIT_SECONDS
    while _slurm(environment, "squeue", "--noheader"):
        if time.monotonic() > end:
            raise RuntimeError(f"jobs are still there {WAIT_SECONDS:g} s after scancel")
        time.sleep(0.1)


def _slurm(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout
