"""What jobs/run.py does with a run folder, with a stand-in for the training process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from xray_hpc.cluster.job import job_id
from xray_hpc.cluster.prepare import prepare
from xray_hpc.resources import resource
from xray_hpc.runs.lease import Lease
from xray_hpc.runs.paths import RunPaths
from xray_hpc.runs.record import RunRecord, Status, read_record, update_record

FINISH = """
from pathlib import Path
from xray_hpc.runs.paths import RunPaths
from xray_hpc.runs.record import Status, update_record
print("epoch 1/1")
update_record(RunPaths(Path(sys.argv[-1])), status=Status.FINISHED)
"""
HANG = "import time; print('training', flush=True); time.sleep(600)"


@pytest.fixture
def paths(composer: Any) -> RunPaths:
    plan = composer.plan([])
    (run,) = plan.runs
    prepare(plan, ["model=ft"], {run.name})
    return plan.place.sweep.run(run.name)


@pytest.fixture
def start(tmp_path: Path, paths: RunPaths) -> Any:
    """Start jobs/run.py where ``python -m xray_hpc.training`` runs ``code`` instead."""
    started = []

    def start(code: str, **environment: str) -> subprocess.Popen[str]:
        site = tmp_path / "site"
        site.mkdir(exist_ok=True)
        hook = f"import os, sys\nif 'xray_hpc.training' in sys.orig_argv:\n    exec({code!r})\n"
        (site / "sitecustomize.py").write_text(hook + "    sys.stdout.flush()\n    os._exit(0)\n")
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
        process = subprocess.Popen(
            [sys.executable, str(resource("jobs") / "run.py"), str(paths.folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=clean | {"PYTHONPATH": str(site)} | environment,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def record_of(paths: RunPaths) -> RunRecord:
    record = read_record(paths)
    assert record is not None
    return record


def until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def test_a_finished_training_ends_with_0_and_its_output_is_in_the_log(
    start: Any, paths: RunPaths
) -> None:
    code, output = ended(start(FINISH))
    assert code == 0
    assert "epoch 1/1\n" in output
    assert "epoch 1/1\n" in paths.log.read_text()
    assert record_of(paths).status is Status.FINISHED


def test_a_finished_run_is_left_alone(start: Any, paths: RunPaths) -> None:
    before = update_record(paths, status=Status.FINISHED)
    code, output = ended(start(HANG))
    assert code == 0
    assert "finished already" in output
    assert record_of(paths) == before


def test_a_training_killed_after_its_last_word_is_finished(start: Any, paths: RunPaths) -> None:
    code, _ = ended(start(FINISH + "os.kill(os.getpid(), 15)"))
    assert code == 0
    assert record_of(paths).status is Status.FINISHED


def test_a_training_killed_by_the_kernel_is_a_failure(start: Any, paths: RunPaths) -> None:
    code, _ = ended(start("os.kill(os.getpid(), 9)"))
    assert code == 128 + signal.SIGKILL
    record = record_of(paths)
    assert record.status is Status.FAILED
    assert record.error is not None
    assert "SIGKILL" in record.error["message"]


def test_a_training_that_exits_without_a_word_is_a_failure(start: Any, paths: RunPaths) -> None:
    code, _ = ended(start("os._exit(7)"))
    assert code == 7
    assert record_of(paths).status is Status.FAILED


def test_a_training_that_exits_with_0_but_did_not_finish_is_a_failure(
    start: Any, paths: RunPaths
) -> None:
    code, _ = ended(start("os._exit(0)"))
    assert code == 1
    assert record_of(paths).status is Status.FAILED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP])
def test_a_job_told_to_end_is_interrupted(start: Any, paths: RunPaths, number: int) -> None:
    process = start(HANG)
    until(lambda: paths.log.exists() and "training" in paths.log.read_text())
    process.send_signal(number)
    code, _ = ended(process)
    assert code == 128 + number
    record = record_of(paths)
    assert record.status is Status.INTERRUPTED
    assert record.error is not None
    assert record.error["type"] == "Interrupted"
    assert record.error["message"].endswith(signal.Signals(number).name)


def test_a_training_told_to_end_before_its_job_is_interrupted(start: Any, paths: RunPaths) -> None:
    code, _ = ended(start("os.kill(os.getpid(), 15)"))
    assert code == 128 + signal.SIGTERM
    assert record_of(paths).status is Status.INTERRUPTED


def test_two_jobs_do_not_train_one_run_at_once(start: Any, paths: RunPaths) -> None:
    with Lease.take(paths.lease):
        code, output = ended(start(HANG))
    assert code == 2
    assert output.startswith(f"error: {paths.name} is being trained by process {os.getpid()} of ")


def test_starts_are_counted_and_job_ids_kept(start: Any, paths: RunPaths) -> None:
    ended(start("os._exit(7)", SLURM_JOB_ID="12"))
    ended(start(FINISH, SLURM_JOB_ID="14", SLURM_ARRAY_JOB_ID="13", SLURM_ARRAY_TASK_ID="2"))
    record = record_of(paths)
    assert (record.restarts, record.job_id, record.job_ids) == (1, "13_2", ["12", "13_2"])


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, str(resource("jobs") / "run.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"error: {tmp_path} is not a run folder: it holds no config.yaml\n"


def test_the_job_id_is_written_as_squeue_writes_it() -> None:
    assert job_id({}) is None
    assert job_id({"SLURM_JOB_ID": "5"}) == "5"
    array = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "1"}
    assert job_id(array) == "5_1"
