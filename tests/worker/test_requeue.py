"""When the worker requeues its job, and with which changes."""

from __future__ import annotations

import signal
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.worker.fake_job import (
    ARRAY_TASK,
    FINISH,
    HANG,
    JOB,
    KILL_ITSELF,
    FakeScontrol,
    JobStarter,
    kill,
    record_failure,
    record_of,
    wait_for_end,
    wait_for_training,
    write_submission,
)
from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Attempt, ErrorInfo, Status, update_record


def test_requeue_after_a_killed_training(
    job: JobStarter, run: RunPaths, scontrol: FakeScontrol
) -> None:
    code, output = job.run(KILL_ITSELF, **JOB)
    assert code == 137
    assert f"{run.name}: killed; requeue (cluster.on_failure.killed is requeue)" in output
    assert scontrol.requests == ["requeue 17"]
    record = record_of(run)
    assert (record.status, record.failure) == (Status.FAILED, "killed")
    assert record.attempts[0].requeued
    job.run(FINISH, **JOB, SLURM_RESTART_COUNT="1")
    assert record_of(run).restarts == 1


def test_requeue_with_more_memory_after_out_of_memory(
    job: JobStarter, run: RunPaths, scontrol: FakeScontrol
) -> None:
    job.run(record_failure("out_of_memory") + "os._exit(1)", **JOB)
    assert scontrol.requests == ["requeue 17", "update JobId=17 MinMemoryNode=3072"]
    record = record_of(run)
    assert record.failure == "out_of_memory"
    assert record.error == ErrorInfo("E", "recorded")


def test_requeue_stops_a_run_that_needs_more_memory_than_any_node_has(
    job: JobStarter, scontrol: FakeScontrol
) -> None:
    node = "NodeName=node1 CPUTot=8 RealMemory=2048 State=IDLE Partitions=main"
    scontrol.site.answer("scontrol", "*show node", node)
    _, output = job.run(record_failure("out_of_memory") + "os._exit(1)", **JOB)
    assert "stop (no node has more than the job's 2048 MiB)" in output
    assert scontrol.requests == []


def test_requeue_excludes_a_node_that_the_training_found_unfit(
    job: JobStarter, run: RunPaths, scontrol: FakeScontrol
) -> None:
    code, _ = job.run("os._exit(75)", **JOB)
    assert code == 75
    assert scontrol.requests == ["requeue 17", "update JobId=17 ExcNodeList=node1"]
    record = record_of(run)
    assert (record.status, record.failure) == (Status.INTERRUPTED, "node_failure")
    assert record.bad_nodes == ["node1"]


def test_requeue_excludes_no_node_if_no_other_fits(job: JobStarter, scontrol: FakeScontrol) -> None:
    nodes = (("node1", 8), ("node2", 4))
    text = "".join(f"NodeName={n} CPUTot={cpus} RealMemory=2048 State=IDLE\n" for n, cpus in nodes)
    scontrol.site.answer("scontrol", "*show node", text)
    _, output = job.run("os._exit(75)", **JOB)
    assert "WARNING no other node fits the job, so it may run on node1 again" in output
    assert scontrol.requests == ["requeue 17"]


def test_requeue_excludes_a_node_without_the_gpus_of_the_job(
    job: JobStarter, scontrol: FakeScontrol
) -> None:
    scontrol.site.answer("nvidia-smi", "-L", "")
    code, output = job.run(FINISH, **JOB, SLURM_JOB_GPUS="0")
    assert code == 75
    assert "ERROR only 0 of 1 GPUs are visible\n" in output
    assert scontrol.requests == ["requeue 17", "update JobId=17 ExcNodeList=node1"]


def test_requeue_without_the_node_check_trains_on_any_node(
    job: JobStarter, runs: list[RunPaths], scontrol: FakeScontrol
) -> None:
    scontrol.site.answer("nvidia-smi", "-L", "")
    folder = write_submission(runs, check_node=False)
    code, _ = job.run(FINISH, "--submission", folder, **ARRAY_TASK, SLURM_JOB_GPUS="0")
    assert code == 0


def test_requeue_outside_of_slurm_stops_the_run(
    job: JobStarter, run: RunPaths, tmp_path: Path
) -> None:
    code, output = job.run(FINISH, TMPDIR=str(tmp_path / "missing"))
    assert code == 75
    assert f"ERROR cannot write to {tmp_path}/missing: " in output
    record = record_of(run)
    assert (record.failure, record.attempts[0].requeued) == ("node_failure", False)


def test_requeue_leaves_the_job_around_a_local_launch_alone(
    job: JobStarter, run: RunPaths, scontrol: FakeScontrol
) -> None:
    code, _ = job.run(KILL_ITSELF, "--local", run.folder, **JOB)
    assert code == 137
    assert scontrol.requests == []
    assert record_of(run).job_id is None


def test_requeue_logs_a_refusal_of_slurm(
    job: JobStarter, run: RunPaths, scontrol: FakeScontrol
) -> None:
    scontrol.site.answer("scontrol", "requeue *", "Requested operation is disabled", code=1)
    code, output = job.run(KILL_ITSELF, **JOB)
    assert code == 137
    assert "ERROR job 17 was not requeued (Requested operation is disabled)" in output
    assert not record_of(run).attempts[0].requeued


@pytest.mark.parametrize(("command", "failures"), [("requeue", 1), ("*show job*", 2)])
def test_requeue_waits_for_an_unreachable_controller(
    job: JobStarter,
    run: RunPaths,
    scontrol: FakeScontrol,
    tmp_path: Path,
    command: str,
    failures: int,
) -> None:
    process = job(HANG, **JOB)
    wait_for_training(run)
    unreachable = (
        f"echo >> {tmp_path}/asked; [ $(wc -l < {tmp_path}/asked) -gt {failures} ] || "
        + ("{ echo Unable to contact slurm controller >&2; exit 1; }")
    )
    if command == "requeue":
        scontrol.site.act("scontrol", "requeue *", f'{unreachable}; echo "$*" >> {scontrol.file}')
        scontrol.show_job("COMPLETING", restarts=1)
    else:
        answer = f"{unreachable}; echo JobId=17 JobState=COMPLETING Restarts=1"
        scontrol.site.act("scontrol", "*show job*", answer)
    process.send_signal(signal.SIGTERM)
    wait_for_end(process)
    assert record_of(run).failure == "preempted"
    assert scontrol.requests == ["requeue 17"]


@pytest.mark.parametrize("worker_survives", [True, False])
def test_requeue_by_slurm_does_not_resume_a_run_that_the_policy_stops(
    job: JobStarter, runs: list[RunPaths], scontrol: FakeScontrol, worker_survives: bool
) -> None:
    failure = "preempted" if worker_survives else "node_failure"
    policy = asdict(ClusterConfig("slurm"))["on_failure"] | {failure: "stop"}
    folder = write_submission(runs[:1], on_failure=policy)
    process = job(HANG, "--submission", folder, **ARRAY_TASK)
    wait_for_training(runs[0])
    scontrol.show_job("COMPLETING", restarts=1)
    if worker_survives:
        process.send_signal(signal.SIGTERM)
        wait_for_end(process)
    else:
        kill(process)
    scontrol.show_job(restarts=1)
    restarted = job(FINISH, "--submission", folder, **ARRAY_TASK, SLURM_RESTART_COUNT="1")
    code, output = wait_for_end(restarted)
    assert code == 1
    assert f"not resuming {runs[0].name}: cluster.on_failure.{failure} is stop" in output
    record = record_of(runs[0])
    assert (record.status, record.failure, len(record.attempts)) == ("interrupted", failure, 1)
    assert (record.attempts[0].ended is not None) is worker_survives
    assert scontrol.requests == []


def test_requeue_of_a_run_that_had_not_started_ignores_its_earlier_attempts(
    job: JobStarter, runs: list[RunPaths], scontrol: FakeScontrol
) -> None:
    no_progress = Attempt(
        "2026-01-01T00:00:00+00:00", "node1", failure="time_limit", checkpoint=[0, 0], requeued=True
    )
    update_record(runs[1], attempts=[no_progress, no_progress])
    process = job(HANG, "--submission", write_submission(runs[:2]), **ARRAY_TASK)
    wait_for_training(runs[0])
    process.send_signal(signal.SIGUSR2)
    scontrol.site.answer("scontrol", "*show job*", "JobId=17 JobState=TIMEOUT BatchFlag=1")
    _, output = wait_for_end(process)
    assert f"{runs[1].name}: time_limit; requeue" in output


@pytest.mark.parametrize(
    ("state", "restarts", "failure", "requests"),
    [
        ("COMPLETING", 0, "cancelled", []),
        ("COMPLETING", 1, "preempted", ["requeue 17"]),
        ("PENDING", 1, "preempted", ["requeue 17"]),
    ],
)
def test_requeue_after_sigterm_depends_on_the_state_of_the_job(
    job: JobStarter,
    run: RunPaths,
    scontrol: FakeScontrol,
    state: str,
    restarts: int,
    failure: str,
    requests: list[str],
) -> None:
    process = job(HANG, **JOB)
    wait_for_training(run)
    scontrol.show_job(state, restarts)
    process.send_signal(signal.SIGTERM)
    code, _ = wait_for_end(process)
    assert code == 128 + signal.SIGTERM
    assert (record_of(run).status, record_of(run).failure) == (Status.INTERRUPTED, failure)
    assert scontrol.requests == requests


def test_requeue_after_sigusr2_needs_no_state_of_the_job(
    job: JobStarter, run: RunPaths, scontrol: FakeScontrol
) -> None:
    process = job(HANG, "--submission", write_submission([run], signal_time=4), **ARRAY_TASK)
    wait_for_training(run)
    unreachable = "Unable to contact slurm controller"
    scontrol.site.answer("scontrol", "*show*", unreachable, code=1)
    process.send_signal(signal.SIGUSR2)
    wait_for_end(process)
    assert record_of(run).failure == "time_limit"
    assert scontrol.requests == ["requeue 17_1"]


def test_requeue_excludes_a_node_that_slurm_set_down(
    job: JobStarter, run: RunPaths, scontrol: FakeScontrol
) -> None:
    process = job(HANG, **JOB)
    wait_for_training(run)
    scontrol.show_job("PENDING", 1)
    scontrol.site.answer("sinfo", "--noheader --nodes=node1 --format=%T", "down*")
    process.send_signal(signal.SIGTERM)
    wait_for_end(process)
    assert record_of(run).failure == "node_failure"
    assert scontrol.requests == ["requeue 17", "update JobId=17 ExcNodeList=node1"]
