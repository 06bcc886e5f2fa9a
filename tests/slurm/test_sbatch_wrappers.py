"""Launches on a real cluster through site wrappers of sbatch that print something else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.slurm.client import Slurm
from tests.slurm.launcher import HELD, Launcher
from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.launching.batch_job import BatchJob
from xray_hpc.launching.submission import submit_job
from xray_hpc.records import ledger
from xray_hpc.records.file_lock import file_lock
from xray_hpc.records.paths import SweepPaths

Wrap = Callable[[str], None]


@pytest.fixture
def wrap(slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wrap:
    """Put a wrapper on PATH before the real sbatch, which its text may call as ``$sbatch``."""
    real = shutil.which("sbatch")

    def wrap(text: str) -> None:
        program = tmp_path / "wrappers" / "sbatch"
        program.parent.mkdir(exist_ok=True)
        test = 'case "$*" in *--test-only*) exec $sbatch "$@";; esac'
        program.write_text(f"#!/bin/bash\nsbatch={real}\n{test}\n{text}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    return wrap


@pytest.mark.parametrize(
    "text",
    [
        'shift; $sbatch "$@"',
        'echo "Project 12 has 400 hours left."; $sbatch "$@"',
        '$sbatch "$@"; echo; echo "Estimated cost: 3 EUR"',
        'echo "$($sbatch "$@");alpha"',
        r"""printf '\e[32mjob <%s>\e[0m\n' "$($sbatch "$@")" """,
        '$sbatch "$@" > /dev/null',
        '$sbatch "$@" >&2',
        'echo 400; $sbatch "$@"',
        '$sbatch "$@"; echo "sbatch: error: cannot write /var/log/jobs" >&2; exit 1',
    ],
)
def test_submit_job_returns_the_id_behind_a_wrapper(
    slurm: Slurm, shared_folder: Path, wrap: Wrap, text: str
) -> None:
    wrap(text)
    small = ClusterConfig(
        "slurm",
        gpus=0,
        cpus=1,
        mem="300M",
        time=20,
        partition=slurm.partition,
        extra={"hold": True},
    )
    before, sweep = slurm.jobs(), SweepPaths(shared_folder / "results" / "s")
    with file_lock(sweep.lock) as lock:
        job = submit_job(BatchJob(sweep, "runs", small, tasks=(("a",), ("b",))), lock)
    assert slurm.jobs() - before == {job}
    assert [at.job for at in ledger.read(sweep).submissions.values()] == [job]


def test_launch_behind_a_silent_wrapper_submits_each_job_once(
    slurm: Slurm, shared_folder: Path, image_cache: Path, wrap: Wrap
) -> None:
    wrap('$sbatch "$@" > /dev/null')
    launcher = Launcher(slurm, shared_folder, shared_folder / "results", image_cache)
    before = slurm.jobs()
    first = launcher.launch("-m", "model=cnn,tl", "name=held", HELD)
    assert first.code == 0, first.errors
    held, jobs = {first.array, first.collect}, {first.stage, first.array, first.collect}
    assert held <= slurm.jobs() - before <= jobs  # the stage job may have ended
    again = launcher.launch("-m", "model=cnn,tl", "name=held", HELD)
    assert again.code == 0, again.errors
    assert held <= slurm.jobs() - before <= jobs
