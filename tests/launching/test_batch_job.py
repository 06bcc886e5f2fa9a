from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xray_hpc.config.cluster_config import ClusterConfig, CpuJobConfig
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
    ("code", "starts", "calls", "exit_code"),
    [(0, 0, [], "0\n"), (1, 0, [], "1\n"), (140, 3, ["requeue 17"], None), (140, 9, [], "140\n")],
    ids=["done", "failed", "out of time", "out of time too often"],
)
def test_script_requeues_a_features_job_at_its_time_limit(
    tmp_path: Path, code: int, starts: int, calls: list[str], exit_code: str | None
) -> None:
    scontrol, log = tmp_path / "scontrol", tmp_path / "calls"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    scontrol.chmod(0o755)
    _, teardown = BatchJob(SWEEP, "features", PLAIN).script(tmp_path).split("# teardown\n")
    ended = subprocess.run(
        ["bash", "-c", f"(exit {code})\n{teardown}"],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "17",
            "SLURM_RESTART_COUNT": f"{starts}",
        },
    )
    assert ended.returncode == code
    assert (log.read_text().splitlines() if log.exists() else []) == calls
    file = tmp_path / EXIT_CODE
    assert (file.read_text() if file.exists() else None) == exit_code
