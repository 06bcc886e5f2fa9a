from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_slurm import Site
from xray_hpc.config.cluster_config import ClusterConfig, CpuJobConfig
from xray_hpc.errors import UserError
from xray_hpc.launching import submit_job
from xray_hpc.launching.submit_job import Job, pack, settle, submit
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import file_lock, read_json
from xray_hpc.records.paths import EXIT_CODE, SweepPaths
from xray_hpc.resources import resource

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
        ("runs_plain", Job(SWEEP, "runs", PLAIN, tasks=NINE[:3])),
        ("run_alone", Job(SWEEP, "runs", PLAIN, tasks=NINE[:1], after=("16",))),
        ("runs_full", Job(SWEEP, "runs", FULL, tasks=NINE, after=("17", "18"), throttle=4)),
        (
            "runs_of_a_snapshot",
            Job(SWEEP, "runs", PLAIN, tasks=NINE[:2], code=Path("/results/lr depth/code/1a2b")),
        ),
        ("features", Job(SWEEP, "features", PLAIN, arguments=("/results/lr depth/runs/ft-0",))),
        ("collect_full", Job(SWEEP, "collect", FULL, arguments=("/results/lr depth",))),
    ],
)
def test_the_batch_script_is_the_recorded_one(name: str, job: Job) -> None:
    text = job.script(Path("/results/lr depth/slurm/20261122-1200-runs-1a2b"))
    text = text.replace(sys.executable, "PYTHON").replace(str(resource("jobs")), "JOBS")
    assert text == (GOLDEN / f"{name}.sh").read_text()


@pytest.mark.parametrize(
    ("code", "starts", "asked", "noted"),
    [(0, 0, [], "0\n"), (1, 0, [], "1\n"), (140, 3, ["requeue 17"], None), (140, 9, [], "140\n")],
    ids=["done", "failed", "out of time", "out of time too often"],
)
def test_a_features_job_that_is_out_of_time_goes_back_into_the_queue(
    tmp_path: Path, code: int, starts: int, asked: list[str], noted: str | None
) -> None:
    scontrol, calls = tmp_path / "scontrol", tmp_path / "calls"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    scontrol.chmod(0o755)
    _, teardown = Job(SWEEP, "features", PLAIN).script(tmp_path).split("# teardown\n")
    ended = subprocess.run(
        ["bash", "-c", f"(exit {code})\n{teardown}"],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "17",
            "SLURM_RESTART_COUNT": f"{starts}",
        },
    )
    assert ended.returncode == code
    assert (calls.read_text().splitlines() if calls.exists() else []) == asked
    file = tmp_path / EXIT_CODE
    assert (file.read_text() if file.exists() else None) == noted


@pytest.fixture
def sweep(tmp_path: Path) -> SweepPaths:
    return SweepPaths(tmp_path / "results" / "lr")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit_job, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(submit_job, "SETTLING_SECONDS", 0.0)


def submitted(sweep: SweepPaths) -> str:
    with file_lock(sweep.lock) as lock:
        return submit(Job(sweep, "runs", PLAIN, tasks=NINE[:2]), lock)


def job_ids(sweep: SweepPaths) -> dict[str, str]:
    return {run: job.id for run, job in ledger.read(sweep).jobs().items()}


def test_the_ledger_is_told_before_and_after(sweep: SweepPaths, site: Site) -> None:
    site.act("sbatch", "--parsable *", f"cp {sweep.ledger} {sweep.folder}/before; echo '17;here'")
    assert submitted(sweep) == "17"
    before = json.loads((sweep.folder / "before").read_text())
    assert (before["event"], before["tasks"]) == ("submitting", [["ft-0"], ["ft-1"]])
    assert job_ids(sweep) == {
        "ft-0": "17_0",
        "ft-1": "17_1",
    }


def test_the_runs_of_each_task_are_in_a_file_beside_the_script(
    sweep: SweepPaths, site: Site
) -> None:
    site.answer("sbatch", "--parsable *", "17")
    submitted(sweep)
    (folder,) = sweep.slurm.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["job.sh", "tasks.json"]
    assert read_json(folder / "tasks.json")["tasks"] == [["ft-0"], ["ft-1"]]


def test_what_slurm_refuses_is_said_and_entered(sweep: SweepPaths, site: Site) -> None:
    site.answer("sbatch", "--parsable *", "sbatch: error: no such qos", code=1)
    with pytest.raises(UserError, match=r"^sbatch refused the job: no such qos$"):
        submitted(sweep)
    assert [event["event"] for event in ledger.events(sweep)] == ["submitting", "refused"]


def test_a_controller_that_does_not_answer_is_asked_again(
    sweep: SweepPaths, site: Site, tmp_path: Path
) -> None:
    tried = tmp_path / "tried"
    first = "echo 'Unable to contact slurm controller (connect failure)' >&2; exit 1"
    site.act("sbatch", "--parsable *", f"if mkdir {tried} 2>/dev/null; then {first}; fi; echo 18")
    site.answer("squeue", "*", "")
    assert submitted(sweep) == "18"


def test_a_job_that_was_taken_without_an_answer_is_not_submitted_again(
    sweep: SweepPaths, site: Site
) -> None:
    gone = "echo 'Socket timed out on send/recv operation' >&2; exit 1"
    site.act("sbatch", "--parsable *", f"echo $2 >> {sweep.folder}/scripts; {gone}")
    line = f'echo "19_0|PENDING|None||1:00|$(cat {sweep.folder}/scripts)"'
    site.act("squeue", "*--states=all", line)
    assert submitted(sweep) == "19"
    assert len((sweep.folder / "scripts").read_text().splitlines()) == 1


def killed_before_the_answer(sweep: SweepPaths) -> str:
    """What the ledger says after a launch that was killed; the script that it gave to sbatch."""
    ledger.append(sweep, "submitting", submission="one", kind="runs", tasks=[["ft-0"], ["ft-1"]])
    return str(sweep.slurm / "one" / "job.sh")


def test_a_job_of_a_killed_launch_is_taken_over(sweep: SweepPaths, site: Site) -> None:
    script = killed_before_the_answer(sweep)
    site.answer("squeue", "*", f"23_1|RUNNING|None|n1|1:00|{script}\n24|RUNNING|None|n1|1:00|x\n")
    assert settle(sweep) == {"one": "23"}
    assert job_ids(sweep) == {
        "ft-0": "23_0",
        "ft-1": "23_1",
    }


def test_what_a_killed_launch_did_not_get_to_is_free_to_be_submitted(
    sweep: SweepPaths, site: Site
) -> None:
    killed_before_the_answer(sweep)
    site.answer("squeue", "*", "24|RUNNING|None|n1|1:00|/elsewhere/job.sh\n")
    assert settle(sweep) == {}
    assert ledger.read(sweep).submissions == {}


def test_nothing_is_settled_while_slurm_is_silent(sweep: SweepPaths, site: Site) -> None:
    killed_before_the_answer(sweep)
    site.answer("squeue", "*", "Unable to contact slurm controller", code=1)
    with pytest.raises(UserError, match="Slurm does not answer"):
        settle(sweep)
    assert list(ledger.read(sweep).submissions) == ["one"]


@pytest.mark.parametrize(
    ("runs", "tasks"),
    [
        (1, [("ft-0",), ("ft-1",), ("ft-2",)]),
        (2, [("ft-0", "ft-1"), ("ft-2",)]),
        (9, [("ft-0", "ft-1", "ft-2")]),
    ],
)
def test_runs_are_packed_in_order(runs: int, tasks: list[tuple[str, ...]]) -> None:
    assert pack(["ft-0", "ft-1", "ft-2"], runs) == tasks
