"""What a process knows of the Slurm job it is in, with a stand-in for scontrol."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xray_hpc.worker import slurm_job as job_module
from xray_hpc.worker.slurm_job import SlurmJob, current_job, job_id, kill_wait

SILENT = "Unable to contact slurm controller"
# Slurm 22.05, of a task of an array.
SHOWN = """\
JobId=8 ArrayJobId=7 ArrayTaskId=3 JobName=job.sh UserId=root(0) Priority=4294901759 \
JobState=RUNNING Reason=None Requeue=1 Restarts=2 BatchFlag=2 ExitCode=0:0 RunTime=00:10:00 \
TimeLimit=1-00:30:00 SubmitTime=2026-11-22T10:07:01 Partition=main ExcNodeList=node[7-8] \
NodeList=node1 NumCPUs=4 TRES=cpu=4,mem=1.50G,node=1,billing=4,gres/gpu=2 MinCPUsNode=4 \
MinMemoryNode=1.50G Command=/tmp/job.sh
"""
TASK = {"SLURM_JOB_ID": "8", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}


@pytest.fixture
def scontrol(site: Any, tmp_path: Path) -> Any:
    """The cluster, where scontrol also notes each of its words' lines."""
    site.answer("scontrol", "*show job*", SHOWN)
    site.answer("scontrol", "*show config", "KillWait                = 20 sec\n")
    for word in ("requeue", "update"):
        site.act("scontrol", f"{word} *", f'echo "$*" >> {tmp_path}/said')
    return site


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Those of this process, back in their places after a test."""
    numbers = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def said(tmp_path: Path) -> list[str]:
    file = tmp_path / "said"
    return file.read_text().splitlines() if file.exists() else []


def test_the_id_is_written_as_squeue_writes_it() -> None:
    assert job_id({}) is None
    assert job_id({"SLURM_JOB_ID": "5"}) == "5"
    assert job_id(TASK) == "7_3"


def test_outside_of_slurm_there_is_no_job() -> None:
    assert current_job({}) is None


def test_a_job_knows_what_it_was_given(scontrol: Any) -> None:
    environment = {"SLURMD_NODENAME": "node1", "SLURM_RESTART_COUNT": "2"}
    job = current_job({**TASK, **environment})
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


def test_a_job_goes_on_where_slurm_does_not_answer(site: Any) -> None:
    site.answer("scontrol", "*", "Unable to contact slurm controller", code=1)
    job = current_job({**TASK, "SLURM_CPUS_PER_TASK": "2", "SLURM_JOB_GPUS": "0,3"})
    assert job is not None
    assert (job.cpus, job.gpus, job.memory, job.submitted) == (2, 2, None, None)
    assert job.state() is None


def test_the_time_left_is_reckoned_by_slurms_clock_alone(scontrol: Any) -> None:
    state = SlurmJob("7_3", "node1").state()
    assert state is not None
    assert (state.state, state.restarts, state.time_left) == ("RUNNING", 2, 86400 + 1200)


def test_a_job_is_put_back_and_then_asks_for_other_things(scontrol: Any, tmp_path: Path) -> None:
    job = SlurmJob("7_3", "node1", excluded="node[7-8]")
    assert job.requeue(memory=1500, exclude=["node1"]) is None
    assert said(tmp_path) == [
        "requeue 7_3",
        "update JobId=7_3 MinMemoryNode=1500 ExcNodeList=node[7-8],node1",
    ]


def test_memory_asked_for_by_cpu_is_raised_by_cpu(scontrol: Any, tmp_path: Path) -> None:
    SlurmJob("7", "node1", cpus=4, memory_per_cpu=True).requeue(memory=1501)
    assert said(tmp_path)[1] == "update JobId=7 MinMemoryCPU=376"


def test_a_job_that_slurm_has_put_back_already_asks_for_other_things_too(
    scontrol: Any, tmp_path: Path
) -> None:
    scontrol.answer("scontrol", "requeue *", "7_3: Job is pending execution", code=1)
    assert SlurmJob("7_3", "node1").requeue(exclude=["node1"]) is None
    assert said(tmp_path) == ["update JobId=7_3 ExcNodeList=node1"]


def test_what_slurm_says_against_it_is_handed_on(scontrol: Any, tmp_path: Path) -> None:
    scontrol.answer("scontrol", "requeue *", "Requested operation is presently disabled", code=1)
    refused = SlurmJob("7_3", "node1").requeue(memory=1500)
    assert refused == "Requested operation is presently disabled"
    assert said(tmp_path) == []


def test_a_job_without_a_script_is_not_put_back(scontrol: Any, tmp_path: Path) -> None:
    assert SlurmJob("7", "node1", batch=False).requeue() == "it has no batch script"
    assert said(tmp_path) == []


def test_slurms_signals_do_not_end_the_putting_back(scontrol: Any) -> None:
    scontrol.act("scontrol", "requeue *", "kill -TERM $PPID $$")
    scontrol.act("scontrol", "update *", "kill -TERM $$")
    assert SlurmJob("7_3", "node1").requeue(exclude=["node1"]) is None
    os.kill(os.getpid(), signal.SIGTERM)


def test_the_largest_node_is_one_with_the_gpus_of_the_job(scontrol: Any) -> None:
    assert SlurmJob("7", "node1", partition="short").largest_memory() == 40000
    assert SlurmJob("7", "node1", partition="main", gpus=2).largest_memory() == 500000
    assert SlurmJob("7", "node1", gpus=7).largest_memory() is None


def test_it_is_asked_how_long_slurm_waits_before_it_kills(scontrol: Any) -> None:
    assert kill_wait() == 20


def test_slurms_own_default_holds_where_it_does_not_answer(site: Any) -> None:
    site.answer("scontrol", "*", SILENT, code=1)
    assert kill_wait() == 30


def test_a_job_that_another_one_takes_the_place_of_says_so(site: Any) -> None:
    times = "StartTime=2026-11-22T11:00:00 PreemptTime="
    for preempted, when in [(False, "None"), (True, "2026-11-22T11:30:00")]:
        site.answer("scontrol", "*show job*", f"JobId=7 JobState=COMPLETING {times}{when}")
        assert SlurmJob("7", "node1").state().preempted is preempted
    site.answer("scontrol", "*show job*", f"JobId=7 JobState=RUNNING {times}2026-11-22T10:00:00")
    assert not SlurmJob("7", "node1").state().preempted  # that was before this start


@pytest.fixture
def silent_at_first(scontrol: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The controller does not answer until it was asked twice."""
    monkeypatch.setattr(job_module, "RETRY_SECONDS", 0.01)
    count = f"echo >> {tmp_path}/asked; [ $(wc -l < {tmp_path}/asked) -gt 2 ]"
    silent = f"{{ echo {SILENT} >&2; exit 1; }}"
    scontrol.act("scontrol", "requeue *", f'{count} || {silent}; echo "$*" >> {tmp_path}/said')
    scontrol.act("scontrol", "*show job*", f"{count} || {silent}; echo {SHOWN.strip()!r}")
    return scontrol


def test_a_controller_that_is_away_for_a_moment_is_asked_again(
    silent_at_first: Any, tmp_path: Path
) -> None:
    assert SlurmJob("7", "node1").requeue(patience=60) is None
    assert said(tmp_path) == ["requeue 7"]


def test_a_job_hears_of_its_state_when_the_controller_is_back(silent_at_first: Any) -> None:
    state = SlurmJob("7_3", "node1").state(patience=60)
    assert state is not None
    assert state.restarts == 2


def test_where_time_is_short_the_controller_is_asked_once(silent_at_first: Any) -> None:
    assert SlurmJob("7_3", "node1").state() is None


@pytest.mark.parametrize(
    ("said", "gpus"),
    [
        ("TRES=cpu=4,gres/gpu=2", 2),
        ("TRES=cpu=4", 0),
        ("TRES=cpu=4 TresPerNode=gres:gpu:2", None),  # GPUs are not counted here
        ("", None),
    ],
)
def test_whether_a_job_has_gpus_may_not_be_known(site: Any, said: str, gpus: int | None) -> None:
    site.answer("scontrol", "*show job*", f"JobId=8 JobState=RUNNING {said}")
    job = current_job(TASK)
    assert job is not None
    assert job.gpus == gpus


def test_words_in_what_people_named_are_not_taken_for_slurms(site: Any) -> None:
    end = "Comment=a b BatchFlag=0 NumCPUs=99 WorkDir=/my results/Partition=x"
    shown = SHOWN.strip().replace("Command=/tmp/job.sh", end)
    site.answer("scontrol", "*show job*", shown)
    job = current_job(TASK)
    assert job is not None
    assert (job.batch, job.cpus, job.partition) == (True, 4, "main")
