"""The Slurm job of a process, with a fake scontrol."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_slurm import FakeSlurm
from xray_hpc.worker import slurm_job
from xray_hpc.worker.slurm_job import SlurmJob, current_job, kill_wait

UNREACHABLE = "Unable to contact slurm controller"
# ``scontrol -o show job`` of Slurm 22.05, for a task of an array.
JOB_7_3 = """\
JobId=8 ArrayJobId=7 ArrayTaskId=3 JobName=job.sh UserId=root(0) Priority=4294901759 \
JobState=RUNNING Reason=None Requeue=1 Restarts=2 BatchFlag=2 ExitCode=0:0 RunTime=00:10:00 \
TimeLimit=1-00:30:00 SubmitTime=2026-11-22T10:07:01 Partition=main ExcNodeList=node[7-8] \
NodeList=node1 NumCPUs=4 TRES=cpu=4,mem=1.50G,node=1,billing=4,gres/gpu=2 MinCPUsNode=4 \
MinMemoryNode=1.50G Command=/tmp/job.sh
"""
ENVIRONMENT = {"SLURM_JOB_ID": "8", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}


@pytest.fixture
def cluster(site: FakeSlurm, tmp_path: Path) -> FakeSlurm:
    """A cluster with the job, which records requeue and update commands."""
    site.answer("scontrol", "*show job*", JOB_7_3)
    site.answer("scontrol", "*show config", "KillWait                = 20 sec\n")
    for command in ("requeue", "update"):
        site.act("scontrol", f"{command} *", f'echo "$*" >> {tmp_path}/requests')
    return site


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """Restore the signal handlers of this process after the test."""
    numbers = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def requests(tmp_path: Path) -> list[str]:
    """Return the requeue and update commands so far."""
    file = tmp_path / "requests"
    return file.read_text().splitlines() if file.exists() else []


def test_current_job_is_none_outside_of_slurm() -> None:
    assert current_job({}) is None


def test_current_job_reads_environment_and_scontrol(cluster: FakeSlurm) -> None:
    node = {"SLURMD_NODENAME": "node1", "SLURM_RESTART_COUNT": "2"}
    job = current_job({**ENVIRONMENT, **node})
    assert job is not None
    assert job.submitted is not None
    assert job.submitted.endswith("+00:00")
    assert job == SlurmJob(
        id="7_3",
        node="node1",
        restarts=2,
        batch=True,
        gpus=2,
        cpus=4,
        memory=1536,
        time_limit=24 * 60 + 30,
        submitted=job.submitted,
        partition="main",
        excluded="node[7-8]",
    )


def test_current_job_uses_the_environment_if_slurm_does_not_answer(site: FakeSlurm) -> None:
    site.answer("scontrol", "*", UNREACHABLE, code=1)
    job = current_job({**ENVIRONMENT, "SLURM_CPUS_PER_TASK": "2", "SLURM_JOB_GPUS": "0,3"})
    assert job is not None
    assert (job.id, job.cpus, job.gpus, job.memory, job.submitted) == ("7_3", 2, 2, None, None)
    assert job.state() is None
    job = current_job({"SLURM_JOB_ID": "5"})
    assert job is not None
    assert job.id == "5"


@pytest.mark.parametrize(
    ("fields", "gpus"),
    [
        ("TRES=cpu=4,gres/gpu=2", 2),
        ("TRES=cpu=4", 0),
        ("TRES=cpu=4 TresPerNode=gres:gpu:2", None),  # a cluster that does not count GPUs
        ("", None),
    ],
)
def test_current_job_may_have_an_unknown_number_of_gpus(
    site: FakeSlurm, fields: str, gpus: int | None
) -> None:
    site.answer("scontrol", "*show job*", f"JobId=8 JobState=RUNNING {fields}")
    job = current_job(ENVIRONMENT)
    assert job is not None
    assert job.gpus == gpus


def test_current_job_ignores_field_names_inside_values_of_the_user(site: FakeSlurm) -> None:
    end = "Comment=a b BatchFlag=0 NumCPUs=99 WorkDir=/my results/Partition=x"
    shown = JOB_7_3.strip().replace("Command=/tmp/job.sh", end)
    site.answer("scontrol", "*show job*", shown)
    job = current_job(ENVIRONMENT)
    assert job is not None
    assert (job.batch, job.cpus, job.partition) == (True, 4, "main")


def test_state_has_the_time_left_by_the_clock_of_slurm(cluster: FakeSlurm) -> None:
    state = SlurmJob("7_3", "node1").state()
    assert state is not None
    assert (state.state, state.restarts, state.time_left) == ("RUNNING", 2, 86400 + 1200)


@pytest.mark.parametrize(
    ("state", "preempt_time", "preempted"),
    [
        ("COMPLETING", "None", False),
        ("COMPLETING", "2026-11-22T11:30:00", True),
        ("RUNNING", "2026-11-22T10:00:00", False),  # of an earlier start of the job
    ],
)
def test_state_is_preempted_after_the_start_only(
    site: FakeSlurm, state: str, preempt_time: str, preempted: bool
) -> None:
    times = f"StartTime=2026-11-22T11:00:00 PreemptTime={preempt_time}"
    site.answer("scontrol", "*show job*", f"JobId=7 JobState={state} {times}")
    found = SlurmJob("7", "node1").state()
    assert found is not None
    assert found.preempted is preempted


def test_requeue_changes_the_requirements_of_the_job(cluster: FakeSlurm, tmp_path: Path) -> None:
    job = SlurmJob("7_3", "node1", excluded="node[7-8]")
    assert job.requeue(memory=1500, exclude=["node1"]) is None
    assert requests(tmp_path) == [
        "requeue 7_3",
        "update JobId=7_3 MinMemoryNode=1500 ExcNodeList=node[7-8],node1",
    ]


def test_requeue_raises_memory_per_cpu(cluster: FakeSlurm, tmp_path: Path) -> None:
    SlurmJob("7", "node1", cpus=4, memory_per_cpu=True).requeue(memory=1501)
    assert requests(tmp_path)[1] == "update JobId=7 MinMemoryCPU=376"


def test_requeue_changes_a_job_that_slurm_has_requeued(cluster: FakeSlurm, tmp_path: Path) -> None:
    cluster.answer("scontrol", "requeue *", "7_3: Job is pending execution", code=1)
    assert SlurmJob("7_3", "node1").requeue(exclude=["node1"]) is None
    assert requests(tmp_path) == ["update JobId=7_3 ExcNodeList=node1"]


def test_requeue_returns_the_reason_of_a_refusal(cluster: FakeSlurm, tmp_path: Path) -> None:
    reason = "Requested operation is presently disabled"
    cluster.answer("scontrol", "requeue *", reason, code=1)
    assert SlurmJob("7_3", "node1").requeue(memory=1500) == reason
    assert requests(tmp_path) == []


def test_requeue_needs_a_batch_script(cluster: FakeSlurm, tmp_path: Path) -> None:
    assert SlurmJob("7", "node1", batch=False).requeue() is not None
    assert requests(tmp_path) == []


def test_requeue_ignores_the_signals_that_follow_it(cluster: FakeSlurm) -> None:
    cluster.act("scontrol", "requeue *", "kill -TERM $PPID $$")
    cluster.act("scontrol", "update *", "kill -TERM $$")
    assert SlurmJob("7_3", "node1").requeue(exclude=["node1"]) is None
    os.kill(os.getpid(), signal.SIGTERM)


def test_largest_memory_is_that_of_a_node_that_fits_the_job(cluster: FakeSlurm) -> None:
    assert SlurmJob("7", "node1", partition="short").largest_memory() == 40000
    assert SlurmJob("7", "node1", partition="main", gpus=2).largest_memory() == 500000
    assert SlurmJob("7", "node1", gpus=7).largest_memory() is None


def test_kill_wait_is_configured_by_the_cluster(cluster: FakeSlurm) -> None:
    assert kill_wait() == 20


def test_kill_wait_defaults_to_that_of_slurm(site: FakeSlurm) -> None:
    site.answer("scontrol", "*", UNREACHABLE, code=1)
    assert kill_wait() == 30


@pytest.fixture
def unreachable_twice(
    cluster: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FakeSlurm:
    """A cluster whose controller answers the third command."""
    monkeypatch.setattr(slurm_job, "RETRY_SECONDS", 0.01)
    count = f"echo >> {tmp_path}/asked; [ $(wc -l < {tmp_path}/asked) -gt 2 ]"
    fail = f"{{ echo {UNREACHABLE} >&2; exit 1; }}"
    cluster.act("scontrol", "requeue *", f'{count} || {fail}; echo "$*" >> {tmp_path}/requests')
    cluster.act("scontrol", "*show job*", f"{count} || {fail}; echo {JOB_7_3.strip()!r}")
    return cluster


def test_requeue_waits_for_the_controller(unreachable_twice: FakeSlurm, tmp_path: Path) -> None:
    assert SlurmJob("7", "node1").requeue(patience=60) is None
    assert requests(tmp_path) == ["requeue 7"]


def test_state_waits_for_the_controller(unreachable_twice: FakeSlurm) -> None:
    state = SlurmJob("7_3", "node1").state(patience=60)
    assert state is not None
    assert state.restarts == 2


def test_state_is_asked_once_without_patience(unreachable_twice: FakeSlurm) -> None:
    assert SlurmJob("7_3", "node1").state() is None
