from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from submitit.slurm.slurm import _make_sbatch_string

from xray_hpc.cluster.config import ClusterConfig, CpuJobConfig
from xray_hpc.cluster.submission import cpu_parameters, run_parameters
from xray_hpc.runs.paths import SweepPaths

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
    extra={"exclude": "node7", "gpus-per-node": "a100:2", "requeue": True, "hold": False},
    setup=("module load cuda", 'export NAME="a b"'),
    cpu_job=CpuJobConfig(partition="cpu", time="00:20:00", cpus=1, mem=None),
)


def script(parameters: dict[str, Any], runs: int | None = None) -> str:
    return _make_sbatch_string(
        command="python -m submitit", folder="/results/slurm", map_count=runs, **parameters
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("runs_plain", script(run_parameters(SWEEP, PLAIN, 3, None), 3)),
        ("runs_full", script(run_parameters(SWEEP, FULL, 9, "17"), 9)),
        ("collect_full", script(cpu_parameters("collect-lr", FULL, "afterany:18"))),
    ],
)
def test_the_batch_script_is_the_recorded_one(name: str, text: str) -> None:
    assert text == (GOLDEN / f"{name}.sh").read_text()
