"""Runs whose lease another process holds, or takes over."""

from __future__ import annotations

import os

import pytest

from tests.worker.fake_job import (
    ARRAY_TASK,
    FINISH,
    HANG,
    JOB,
    FakeScontrol,
    JobStarter,
    record_of,
    wait_for_end,
    wait_for_training,
    write_submission,
)
from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.records.lease import Lease
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Status
from xray_hpc.worker import attempt
from xray_hpc.worker.worker import run_worker


def test_lease_of_another_process_makes_the_worker_exit_with_69(
    job: JobStarter, run: RunPaths
) -> None:
    with Lease.acquire(run.lease):
        code, output = job.run(HANG)
    assert code == 69
    assert f"ERROR {run.name} is being trained by process {os.getpid()} of " in output


def test_lease_holder_is_waited_for_in_a_batch_job(
    job: JobStarter, run: RunPaths, scontrol: FakeScontrol
) -> None:
    with Lease.acquire(run.lease):
        process = job(FINISH, **JOB)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert f"INFO {run.name} is being trained by process {os.getpid()} of " in line
    code, _ = wait_for_end(process)
    assert code == 0


def test_lease_is_handed_to_a_later_start_of_the_same_job(
    job: JobStarter, runs: list[RunPaths], scontrol: FakeScontrol
) -> None:
    folder = write_submission(runs)
    earlier = job(HANG, "--submission", folder, **ARRAY_TASK)
    wait_for_training(runs[0])
    scontrol.show_job(restarts=1)
    later = job(FINISH, "--submission", folder, **ARRAY_TASK, SLURM_RESTART_COUNT="1")
    code, output = wait_for_end(earlier)
    assert code == 69
    assert f"stopped {runs[0].name}: a later start of job 17_1 takes over" in output
    code, _ = wait_for_end(later)
    assert code == 0
    assert [record_of(run).status for run in runs] == [Status.FINISHED] * 3
    assert [attempt.restarts for attempt in record_of(runs[0]).attempts] == [0, 1]
    code, _ = job.run(HANG, "--submission", folder, "--after", "69", **ARRAY_TASK)
    assert (code, scontrol.requests) == (0, [])


def test_lease_held_for_ever_requeues_the_job_a_few_times_only(
    run: RunPaths,
    scontrol: FakeScontrol,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(attempt, "LEASE_PATIENCE_SECONDS", 0)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with Lease.acquire(run.lease, job="12"):
        for restarts in range(4):
            monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
            assert run_worker([run], ClusterConfig("slurm")) == 69
    assert "held by another process; stop (4 of 4 starts have waited for it)" in caplog.text
    assert scontrol.requests == ["requeue 17"] * 3
    assert record_of(run).attempts == []


def test_lease_that_was_lost_protects_the_record_from_writes(
    job: JobStarter, run: RunPaths, scontrol: FakeScontrol
) -> None:
    process = job(HANG, **JOB)
    wait_for_training(run)
    (run.lease / "2").touch()
    before = run.record.read_text()
    code, output = wait_for_end(process)
    assert code == 69
    assert f"ERROR lost the lease of {run.name}" in output
    assert run.record.read_text() == before
    assert scontrol.requests == []


def test_lease_that_is_a_file_makes_the_worker_exit_with_2(job: JobStarter, run: RunPaths) -> None:
    run.lease.touch()
    before = run.record.read_text()
    code, output = job.run(HANG)
    assert code == 2
    (line,) = output.splitlines()
    assert f"ERROR {run.lease} is not a folder; remove it" in line
    assert run.record.read_text() == before
