from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xray_hpc.config.cluster_config import ClusterConfig, CpuJobConfig, FailureConfig
from xray_hpc.launching.batch_job import BatchJob
from xray_hpc.package_folders import resource
from xray_hpc.records.paths import EXIT_CODE, SweepPaths

GOLDEN = Path(__file__).parent / "golden"
SWEEP = SweepPaths(Path("/results/lr depth"))
PLAIN = ClusterConfig("slurm")
FULL = ClusterConfig(
    kind="slurm",
    parallel=4,
    partition="gpu",
    account="chest",
    qos="long",
    constraint="a100|h100",
    time="1-12:00:00",
    gpus=2,
    cpus=16,
    mem="64G",
    extra={"exclude": "node7", "gpus-per-node": "a100:2", "nice": 0, "hold": False},
    setup=("module load cuda", 'export NAME="a b"'),
    container="apptainer exec --nv 'my image.sif'",
    signal_time=300,
    cpu_job=CpuJobConfig(partition="cpu", time="00:20:00", cpus=1, mem=None),
)
NINE = tuple((f"ft-{number}",) for number in range(9))


@pytest.mark.parametrize(
    ("name", "job"),
    [
        ("runs_plain", BatchJob(SWEEP, "runs", PLAIN, tasks=NINE[:3])),
        ("run_alone", BatchJob(SWEEP, "runs", PLAIN, tasks=NINE[:1], after=("16",))),
        ("runs_full", BatchJob(SWEEP, "runs", FULL, tasks=NINE, after=("17", "18"), throttle=4)),
        (
            "runs_of_a_snapshot",
            BatchJob(
                SWEEP, "runs", PLAIN, tasks=NINE[:2], code=Path("/results/lr depth/code/1a2b")
            ),
        ),
        (
            "features",
            BatchJob(SWEEP, "features", PLAIN, arguments=("/results/lr depth/runs/ft-0",)),
        ),
        ("collect_full", BatchJob(SWEEP, "collect", FULL, arguments=("/results/lr depth",))),
    ],
)
def test_script_equals_the_recorded_one(name: str, job: BatchJob) -> None:
    text = job.script(Path("/results/lr depth/slurm/20261122-1200-runs-1a2b"))
    text = text.replace(sys.executable, "PYTHON").replace(str(resource("jobs")), "JOBS")
    assert text == (GOLDEN / f"{name}.sh").read_text()


def test_script_names_the_working_folder_and_python_as_the_shell_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "export1" / "bin").mkdir(parents=True)
    home = tmp_path / "home"
    home.symlink_to("export1")
    monkeypatch.chdir(home)
    monkeypatch.setattr(sys, "executable", str(Path.cwd() / "bin" / "python"))
    job = BatchJob(SWEEP, "collect", PLAIN)
    monkeypatch.delenv("PWD", raising=False)
    assert "--chdir" not in job.script(tmp_path)
    monkeypatch.setenv("PWD", str(home))
    script = job.script(tmp_path)
    assert f"#SBATCH --chdir={home}\n" in script
    assert f"{home}/bin/python -u " in script
    assert "export1" not in script


@pytest.mark.parametrize(
    ("code", "starts", "requeued", "exit_code"),
    [(0, 0, [], "0\n"), (1, 0, [], "1\n"), (140, 3, ["requeue 17"], None), (140, 9, [], "140\n")],
    ids=["done", "failed", "out of time", "out of time too often"],
)
def test_script_requeues_a_features_job_at_its_time_limit(
    tmp_path: Path, code: int, starts: int, requeued: list[str], exit_code: str | None
) -> None:
    job = BatchJob(SWEEP, "features", PLAIN)
    ended, calls = run_teardown(tmp_path, job, code, SLURM_RESTART_COUNT=f"{starts}")
    assert (ended, calls) == (code, requeued)
    file = tmp_path / EXIT_CODE
    assert (file.read_text() if file.exists() else None) == exit_code


def run_teardown(
    folder: Path, job: BatchJob, code: int, shown: str = "", **environment: str
) -> tuple[int, list[str]]:
    """Run a script from its teardown on, after a task that ended with ``code``.

    Return the exit code and the calls of scontrol, which shows ``shown`` for job 17.
    """
    scontrol, log = folder / "scontrol", folder / "calls"
    scontrol.write_text(f'#!/bin/sh\n[ "$2" != show ] || exec echo "{shown}"\necho "$@" >> {log}\n')
    scontrol.chmod(0o755)
    _, teardown = job.script(folder).split("# teardown\n")
    path = {"PATH": f"{folder}:{os.environ['PATH']}"}
    known = {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "node2"} | environment
    ended = subprocess.run(["bash", "-c", f"(exit {code})\n{teardown}"], env=path | known)
    return ended.returncode, log.read_text().splitlines() if log.exists() else []


@pytest.mark.parametrize(
    ("after", "starts", "shown", "calls"),
    [
        (127, 0, "JobState=RUNNING ExcNodeList=(null) A=b", ["node2"]),
        (255, 1, "JobState=RUNNING ExcNodeList=node[7-8] A=b", ["node2,node[7-8]"]),
        (127, 2, "JobState=RUNNING ExcNodeList=(null)", []),
        (127, 0, "JobState=COMPLETING ExcNodeList=(null)", []),
        (127, 0, "", []),
        (0, 0, "JobState=RUNNING", []),
        (2, 0, "JobState=RUNNING", []),
    ],
    ids=["first", "second", "too often", "ending", "unknown", "recorded", "bad input"],
)
def test_script_requeues_a_job_whose_python_does_not_start_on_another_node(
    tmp_path: Path, after: int, starts: int, shown: str, calls: list[str]
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexit {after}\n")
    python.chmod(0o755)
    job = BatchJob(SWEEP, "runs", ClusterConfig("slurm", python=str(python)))
    ended, requests = run_teardown(tmp_path, job, 137, shown, SLURM_RESTART_COUNT=f"{starts}")
    assert ended == 137
    updates = [f"update JobId=17 ExcNodeList={nodes}" for nodes in calls]
    assert requests == ["requeue 17"] * len(calls) + updates


def test_script_leaves_nodes_alone_if_the_policy_does(tmp_path: Path) -> None:
    policy = FailureConfig(node_failure="stop")
    cluster = ClusterConfig("slurm", python="/nonexistent", on_failure=policy)
    job = BatchJob(SWEEP, "runs", cluster)
    assert run_teardown(tmp_path, job, 9, "JobState=RUNNING") == (9, [])
