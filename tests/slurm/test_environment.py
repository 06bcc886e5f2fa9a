"""Jobs on a real cluster request what the configuration says, whatever the environment says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.slurm.client import Slurm
from tests.slurm.launcher import HELD, Launcher
from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.launching.batch_job import BatchJob
from xray_hpc.launching.submission import submit_job
from xray_hpc.records.file_lock import file_lock
from xray_hpc.records.paths import SweepPaths

# What sbatch prefers to the options of a script, or fails with.
OPTIONS = {
    "SBATCH_ARRAY_INX": "0-5",
    "SBATCH_CPUS_PER_GPU": "3",
    "SBATCH_DISTRIBUTION": "cyclic",
    "SBATCH_ERROR": "/dev/null",
    "SBATCH_GPUS": "2",
    "SBATCH_GPUS_PER_NODE": "2",
    "SBATCH_GPUS_PER_TASK": "2",
    "SBATCH_GRES": "gpu:2",
    "SBATCH_HINT": "nomultithread",
    "SBATCH_INPUT": "/dev/zero",
    "SBATCH_JOB_NAME": "other",
    "SBATCH_MEM_PER_CPU": "50M",
    "SBATCH_MEM_PER_GPU": "50M",
    "SBATCH_MEM_PER_NODE": "100M",
    "SBATCH_NO_KILL": "1",
    "SBATCH_NO_REQUEUE": "1",
    "SBATCH_OPEN_MODE": "truncate",
    "SBATCH_OUTPUT": "/dev/null",
    "SBATCH_OVERCOMMIT": "1",
    "SBATCH_PARTITION": "nowhere",
    "SBATCH_QOS": "nothing",
    "SBATCH_REQUEUE": "1",
    "SBATCH_SIGNAL": "INT@10",
    "SBATCH_THREADS_PER_CORE": "1",
    "SBATCH_TIMELIMIT": "7",
    "SBATCH_WAIT": "1",
    "SLURM_CLUSTERS": "elsewhere",
    "SLURM_EXIT_ERROR": "0",
    "SLURM_HINT": "compute_bound",
    "SLURM_TIME_FORMAT": "relative",
}
# Those of a surrounding job, which srun inside the new job would read or refuse.
SURROUNDING = {
    "SLURM_JOB_ID": "1",
    "SLURM_ARRAY_TASK_ID": "9",
    "SLURM_NTASKS": "4",
    "SLURM_NNODES": "2",
    "SLURM_CPU_BIND": "mask_cpu:0x80",
    "SLURM_MEM_PER_CPU": "10",
    "SLURM_MEM_PER_NODE": "10",
    "SLURM_TRES_PER_TASK": "cpu:7",
    "SRUN_CPUS_PER_TASK": "7",
}
DIFFERING = {"JobId", "ArrayJobId", "Priority", "Command", "StdOut", "StdErr"}
DIFFERING |= {"SubmitTime", "EligibleTime", "AccrueTime", "StartTime", "LastSchedEval"}


def submit(slurm: Slurm, folder: Path, **keys: Any) -> str:
    """Submit a small job of two tasks; return its id."""
    small = {"gpus": 0, "cpus": 1, "mem": "300M", "time": 20, "partition": slurm.partition}
    cluster = ClusterConfig("slurm", **{**small, **keys})
    sweep = SweepPaths(folder / "results" / "s")
    with file_lock(sweep.lock) as lock:
        return submit_job(BatchJob(sweep, "runs", cluster, tasks=(("a",), ("b",))), lock)


def request(slurm: Slurm, job: str) -> dict[str, str]:
    return {name: at for name, at in slurm.job(job).items() if name not in DIFFERING}


@pytest.mark.parametrize("variable", OPTIONS)
def test_job_requests_what_the_configuration_says(
    slurm: Slurm, shared_folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    if slurm.partition is None:
        pytest.skip("needs XRAY_HPC_TEST_PARTITION on a site's cluster")
    hold = {"hold": True}
    expected = request(slurm, submit(slurm, shared_folder, extra=hold))
    assert (expected["Requeue"], expected["MinMemoryNode"]) == ("1", "300M")
    with monkeypatch.context() as patched:
        patched.setenv(variable, OPTIONS[variable])
        job = submit(slurm, shared_folder, extra=hold)
    assert request(slurm, job) == expected


def test_task_starts_in_spite_of_the_variables_of_a_surrounding_job(
    slurm: Slurm, shared_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = shared_folder / "python"
    python.write_text(f"#!/bin/bash\nenv > {shared_folder}/env-$SLURM_ARRAY_TASK_ID\n")
    python.chmod(0o755)
    for name, value in SURROUNDING.items():
        monkeypatch.setenv(name, value)
    job = submit(slurm, shared_folder, python=str(python))
    assert slurm.wait(job) == {f"{job}_0": "COMPLETED", f"{job}_1": "COMPLETED"}
    lines = (shared_folder / "env-1").read_text().splitlines()
    inside = dict(line.partition("=")[::2] for line in lines)
    assert (inside["SLURM_NTASKS"], inside["SLURM_CPUS_PER_TASK"]) == ("1", "1")
    assert (inside["SLURM_ARRAY_JOB_ID"], inside["SLURM_MEM_PER_NODE"]) == (job, "300")
    assert "SLURM_TRES_PER_TASK" not in inside


def test_launch_ignores_variables_and_shows_those_it_uses(
    slurm: Slurm, shared_folder: Path, image_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = Launcher(slurm, shared_folder, shared_folder / "results", image_cache)
    monkeypatch.setenv("SBATCH_PARTITION", slurm.partition or "")
    for name in ("SBATCH_MEM_PER_NODE", "SBATCH_TIMELIMIT", "SBATCH_NO_REQUEUE", "SBATCH_WAIT"):
        monkeypatch.setenv(name, OPTIONS[name])
    monkeypatch.setenv("SBATCH_EXCLUSIVE", "user")
    done = launcher.launch("-m", "model=cnn,tl", "name=held", HELD, "cluster.partition=null")
    assert done.code == 0, done.errors
    notes = [line for line in done.output.splitlines() if line.startswith("note: SBATCH_")]
    assert notes[0].startswith("note: SBATCH_EXCLUSIVE=user ")
    assert slurm.partition is None or "sets cluster.partition" in notes[1]
    assert "ignored SBATCH_MEM_PER_NODE=100M, SBATCH_NO_REQUEUE=1, " in done.output
    for job in (done.array, done.stage, done.collect):
        fields = slurm.job(job)
        assert (fields["MinMemoryNode"], fields["TimeLimit"]) == ("2G", "00:30:00")
        assert fields["OverSubscribe"] == "USER"
    assert slurm.job(done.array)["Requeue"] == "1"


@pytest.mark.parametrize("variable", ["SLURM_CLUSTERS", "SBATCH_CLUSTERS"])
def test_launch_refuses_another_cluster(
    slurm: Slurm, shared_folder: Path, image_cache: Path, variable: str
) -> None:
    launcher = Launcher(slurm, shared_folder, shared_folder / "results", image_cache)
    environ = {**os.environ, variable: "elsewhere"}
    done = launcher.launch("model=cnn", "name=held", HELD, environ=environ)
    assert (done.code, done.errors.count("\n")) == (2, 1)
    assert f"{variable} is elsewhere" in done.errors
    assert not launcher.sweep("held").folder.exists()
