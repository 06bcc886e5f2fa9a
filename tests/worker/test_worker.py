"""jobs/run.py on one run: exit codes, the run's record and its log."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.worker.fake_job import (
    FINISH,
    HANG,
    JOB,
    KILL_ITSELF,
    FakeScontrol,
    JobStarter,
    kill,
    record_of,
    wait_for_end,
    wait_for_training,
    wait_until,
)
from xray_hpc.package_folders import resource
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_progress import TrainingProgress, checkpoint_name, write_progress
from xray_hpc.records.run_record import Status, update_record


def test_worker_finished_training_exits_with_0(job: JobStarter, run: RunPaths) -> None:
    code, output = job.run(FINISH)
    assert code == 0
    assert "epoch 1/1\n" in output
    heading, *lines = run.log.read_text().splitlines()
    assert heading.startswith("--- ")
    assert "job" not in heading.partition(" on ")[2]
    assert "epoch 1/1" in lines
    assert record_of(run).status is Status.FINISHED


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink(path, path)])
def test_worker_of_an_unreadable_run_exits_with_74(
    job: JobStarter, run: RunPaths, make: Callable[[Path], None]
) -> None:
    run.record.unlink()
    make(run.record)
    code, output = job.run(FINISH)
    assert code == 74
    assert f"cannot use {run.record}: " in output
    assert output.count("\n") == 1


def test_worker_of_a_changed_configuration_exits_with_2(job: JobStarter, run: RunPaths) -> None:
    text = run.config.read_text()
    run.config.write_text(text.replace("seed: ", "seed: 1"))
    code, output = job.run(FINISH)
    assert code == 2
    assert f"{run.config} is that of " in output
    assert output.count("\n") == 1


def test_worker_leaves_a_finished_run_alone(job: JobStarter, run: RunPaths) -> None:
    before = update_record(run, status=Status.FINISHED)
    code, output = job.run(HANG)
    assert code == 0
    assert re.fullmatch(rf"\S+ \S+ INFO {run.name} is already finished\n", output)
    assert record_of(run) == before


def test_worker_training_killed_after_its_last_write_is_finished(
    job: JobStarter, run: RunPaths
) -> None:
    code, _ = job.run(FINISH + "os.kill(os.getpid(), 15)")
    assert code == 0
    assert record_of(run).status is Status.FINISHED


@pytest.mark.parametrize("status", [Status.CREATED, Status.FINISHED])
def test_worker_removes_the_checkpoints_of_a_finished_run(
    job: JobStarter, run: RunPaths, status: Status
) -> None:
    run.checkpoint_folder.mkdir()
    (run.checkpoint_folder / f"{checkpoint_name(1, 0)}.npz").touch()
    update_record(run, status=status)
    code, _ = job.run(FINISH + KILL_ITSELF)
    assert code == 0
    assert not run.checkpoint_folder.exists()


def test_worker_training_killed_by_sigkill_failed(job: JobStarter, run: RunPaths) -> None:
    code, _ = job.run(KILL_ITSELF)
    assert code == 128 + signal.SIGKILL
    record = record_of(run)
    assert record.status is Status.FAILED
    assert record.error is not None
    assert "SIGKILL" in record.error.message


@pytest.mark.parametrize(("exit_code", "expected"), [(7, 7), (0, 1)])
def test_worker_training_that_records_nothing_failed(
    job: JobStarter, run: RunPaths, exit_code: int, expected: int
) -> None:
    code, _ = job.run(f"os._exit({exit_code})")
    assert code == expected
    assert record_of(run).status is Status.FAILED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP])
def test_worker_forwards_a_termination_signal(job: JobStarter, run: RunPaths, number: int) -> None:
    process = job(HANG)
    wait_for_training(run)
    process.send_signal(number)
    code, _ = wait_for_end(process)
    assert code == 128 + number
    record = record_of(run)
    assert record.status is Status.INTERRUPTED
    assert record.error is not None
    assert record.error.type == "Interrupted"
    assert record.error.message.endswith(signal.Signals(number).name)


def test_worker_ignores_a_signal_that_was_ignored_at_its_start(
    job: JobStarter, run: RunPaths
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        process = job(HANG)
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for_training(run)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    code, _ = wait_for_end(process)
    assert code == 128 + signal.SIGTERM


def test_worker_training_that_gets_sigterm_first_is_interrupted(
    job: JobStarter, run: RunPaths
) -> None:
    code, _ = job.run("os.kill(os.getpid(), 15)")
    assert code == 128 + signal.SIGTERM
    assert record_of(run).status is Status.INTERRUPTED


def test_worker_counts_restarts_and_keeps_job_ids(job: JobStarter, run: RunPaths) -> None:
    job.run("os._exit(7)", SLURM_JOB_ID="12")
    job.run(FINISH, SLURM_JOB_ID="14", SLURM_ARRAY_JOB_ID="13", SLURM_ARRAY_TASK_ID="2")
    record = record_of(run)
    assert (record.restarts, record.job_id, record.job_ids) == (1, "13_2", ["12", "13_2"])


def test_worker_refuses_a_folder_that_is_not_a_run(tmp_path: Path) -> None:
    command = [sys.executable, str(resource("jobs") / "run.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"ERROR {tmp_path} is not a run folder" in done.stderr


def test_worker_records_how_an_attempt_ended_and_its_usage(
    job: JobStarter, run: RunPaths, scontrol: FakeScontrol
) -> None:
    write_progress(run, TrainingProgress(3, 8, 0, 1.0, 0, 0.5, 0.5, None))
    job.run("os._exit(7)", **JOB)
    (attempt,) = record_of(run).attempts
    assert (attempt.node, attempt.job_id, attempt.failure) == ("node1", "17", "bug")
    assert attempt.epochs == 3
    assert (attempt.cpus, attempt.memory, attempt.time_limit, attempt.gpus) == (8, 2048, 600, 0)
    assert attempt.queued is not None
    assert attempt.ended is not None
    assert attempt.peak_memory is not None
    assert attempt.cpu_seconds is not None
    assert not attempt.requeued


def test_worker_ends_the_attempt_of_a_killed_worker(
    job: JobStarter, run: RunPaths, scontrol: FakeScontrol
) -> None:
    process = job(HANG, **JOB)
    wait_for_training(run)
    kill(process)
    job.run(FINISH, **JOB)
    first, second = record_of(run).attempts
    assert (first.failure, first.requeued) == ("node_failure", True)
    assert (second.failure, second.requeued) == (None, False)


def test_training_process_can_detect_the_end_of_its_worker(
    job: JobStarter, run: RunPaths, tmp_path: Path
) -> None:
    process = job(HANG + f"; open({str(tmp_path / 'ended')!r}, 'w')")
    wait_for_training(run)
    assert not (tmp_path / "ended").exists()
    kill(process)
    wait_until((tmp_path / "ended").exists)


@pytest.mark.parametrize("process", ["os.getpid()", "os.getppid()"])
def test_worker_reports_a_full_disk_in_one_line(
    job: JobStarter, run: RunPaths, process: str
) -> None:
    fill = f"import resource; resource.prlimit({process}, resource.RLIMIT_FSIZE, (0, -1)); "
    write = f"print('full', flush=True); open({str(run.folder / 'x')!r}, 'w').write('x')"
    code, output = job.run(fill + write)
    assert "full" in output
    if process == "os.getpid()":  # the worker can still write
        assert record_of(run).failure == "bug"
        return
    assert code == 74
    assert (
        f"ERROR cannot write to {run.folder}: File too large; raise ulimit -f, and launch again\n"
        in output
    )
    assert "Traceback" not in output.split("full")[1]


@pytest.mark.parametrize("slurm_answers", [True, False])
def test_worker_uses_no_gpus_only_if_the_job_has_none(
    job: JobStarter, scontrol: FakeScontrol, slurm_answers: bool
) -> None:
    if not slurm_answers:
        scontrol.site.answer("scontrol", "*show job*", "Invalid job id specified", code=1)
    print_gpus = "print('gpus', os.environ.get('XRAY_HPC_GPUS'), flush=True)\n"
    _, output = job.run(print_gpus + FINISH, **JOB)
    assert f"gpus {0 if slurm_answers else None}\n" in output
