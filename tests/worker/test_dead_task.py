"""``jobs/run.py --after CODE``: what is done for a task whose worker was killed."""

from __future__ import annotations

import pytest

from tests.worker.fake_job import (
    ARRAY_TASK,
    HANG,
    FakeScontrol,
    JobStarter,
    kill,
    record_failure,
    record_of,
    wait_for_training,
    wait_until,
    write_submission,
)
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import ErrorInfo, Status


def test_dead_task_is_requeued(
    job: JobStarter, runs: list[RunPaths], scontrol: FakeScontrol
) -> None:
    folder = write_submission(runs[:1])
    process = job(HANG, "--submission", folder, **ARRAY_TASK)
    wait_for_training(runs[0])
    kill(process)
    code, _ = job.run(HANG, "--submission", folder, "--after", "137", **ARRAY_TASK)
    assert code == 0
    assert scontrol.requests == ["requeue 17_1"]
    record = record_of(runs[0])
    assert (record.status, record.failure) == (Status.FAILED, "killed")
    assert record.attempts[0].requeued


@pytest.mark.parametrize(
    ("code", "failure", "end", "requests"),
    [
        (265, "killed", "SIGKILL", ["requeue 17_1"]),
        (74, "storage", "exit code 74", []),
        (1, "bug", "exit code 1", []),
    ],
)
def test_dead_task_is_classified_by_its_exit_code(
    job: JobStarter,
    runs: list[RunPaths],
    scontrol: FakeScontrol,
    code: int,
    failure: str,
    end: str,
    requests: list[str],
) -> None:
    folder = write_submission(runs)
    job.run(HANG, "--submission", folder, "--after", str(code), **ARRAY_TASK)
    assert scontrol.requests == requests
    first, *others = (record_of(run) for run in runs)
    assert first.failure == failure
    assert first.error is not None
    assert end in first.error.message
    assert [other.status for other in others] == [Status.CREATED] * 2


def test_dead_task_that_never_starts_a_run_is_not_requeued_for_ever(
    job: JobStarter, runs: list[RunPaths], scontrol: FakeScontrol
) -> None:
    folder = write_submission(runs)
    for restarts in range(4):
        scontrol.show_job(restarts=restarts)
        start = ARRAY_TASK | {"SLURM_RESTART_COUNT": str(restarts)}
        job.run(HANG, "--submission", folder, "--after", "137", **start)
    assert len(record_of(runs[0]).attempts) == 2  # without progress
    assert len(scontrol.requests) == 4  # for the other runs, which have not started


def test_dead_task_keeps_the_failure_that_the_training_recorded(
    job: JobStarter, runs: list[RunPaths], scontrol: FakeScontrol
) -> None:
    folder = write_submission(runs[:1])
    training = record_failure("nan_loss") + HANG
    process = job(training, "--submission", folder, **ARRAY_TASK)
    wait_until(lambda: record_of(runs[0]).status is Status.FAILED)
    kill(process)
    job.run(HANG, "--submission", folder, "--after", "137", **ARRAY_TASK)
    record = record_of(runs[0])
    assert record.failure == "nan_loss"
    assert record.error == ErrorInfo("E", "recorded")
    assert record.attempts[0].ended is not None
    assert scontrol.requests == []


def test_dead_task_whose_setup_failed_is_requeued_on_another_node_once(
    job: JobStarter, runs: list[RunPaths], scontrol: FakeScontrol
) -> None:
    folder = write_submission(runs[:1])
    error = b"cluster.setup: 'module load cuda/99' ended with exit code 1: no \xff".decode(
        errors="surrogateescape"
    )
    for restarts, node in enumerate(("node1", "node2")):
        scontrol.show_job(restarts=restarts)
        start = ARRAY_TASK | {"SLURM_RESTART_COUNT": f"{restarts}", "SLURMD_NODENAME": node}
        arguments = ("--after", "75", "--setup-error", error)
        code, output = job.run(HANG, "--submission", folder, *arguments, **start)
        assert code == 0
    assert "no new checkpoint in two attempts; correct cluster.setup" in output
    assert scontrol.requests == ["requeue 17_1", "update JobId=17_1 ExcNodeList=node1"]
    record = record_of(runs[0])
    assert (record.status, record.failure, record.bad_nodes) == (
        Status.FAILED,
        "setup",
        ["node1", "node2"],
    )
    assert record.error is not None
    assert record.error.message.endswith("ended with exit code 1: no \ufffd")


def test_dead_task_cancelled_during_setup_is_not_requeued(
    job: JobStarter, runs: list[RunPaths], scontrol: FakeScontrol
) -> None:
    folder = write_submission(runs[:1])
    scontrol.show_job("COMPLETING")
    arguments = ("--after", "75", "--setup-error", "ended with exit code 143")
    job.run(HANG, "--submission", folder, *arguments, **ARRAY_TASK)
    assert scontrol.requests == []
    assert record_of(runs[0]).status is Status.CREATED


def test_dead_task_whose_worker_recorded_its_end_needs_nothing(
    job: JobStarter, runs: list[RunPaths], scontrol: FakeScontrol
) -> None:
    folder = write_submission(runs[:1])
    job.run("os._exit(7)", "--submission", folder, **ARRAY_TASK)
    before = record_of(runs[0])
    code, output = job.run(HANG, "--submission", folder, "--after", "7", **ARRAY_TASK)
    assert (code, output) == (0, "")
    assert record_of(runs[0]) == before
