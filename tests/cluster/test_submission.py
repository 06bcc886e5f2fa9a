from __future__ import annotations

import sys
from pathlib import Path

import pytest

from xray_hpc.cluster.config import ClusterConfig, CpuJobConfig
from xray_hpc.cluster.submission import Job, pack, settle, submit
from xray_hpc.errors import UserError
from xray_hpc.resources import resource
from xray_hpc.runs import ledger
from xray_hpc.runs.files import locked, read_json
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
    extra={"exclude": "node7", "gpus-per-node": "a100:2", "nice": 0, "hold": False},
    setup=("module load cuda", 'export NAME="a b"'),
    container="apptainer exec --nv 'my image.sif'",
    notice=300,
    cpu_job=CpuJobConfig(partition="cpu", time="00:20:00", cpus=1, mem=None),
)
NINE = tuple((f"ft-{number}",) for number in range(9))


@pytest.mark.parametrize(
    ("name", "job"),
    [
        ("runs_plain", Job(SWEEP, "runs", PLAIN, tasks=NINE[:3])),
        ("run_alone", Job(SWEEP, "runs", PLAIN, tasks=NINE[:1], after=("16",))),
        ("runs_full", Job(SWEEP, "runs", FULL, tasks=NINE, after=("17", "18"), throttle=4)),
        (
            "runs_of_a_snapshot",
            Job(SWEEP, "runs", PLAIN, tasks=NINE[:2], code=Path("/results/lr depth/code/1a2b")),
        ),
        ("collect_full", Job(SWEEP, "collect", FULL, arguments=("/results/lr depth",))),
    ],
)
def test_the_batch_script_is_the_recorded_one(name: str, job: Job) -> None:
    text = job.script(Path("/results/lr depth/slurm/20261122-1200-runs-1a2b"))
    text = text.replace(sys.executable, "PYTHON").replace(str(resource("jobs")), "JOBS")
    assert text == (GOLDEN / f"{name}.sh").read_text()
