"""Run jobs/run.py with a fake training process, and the Slurm job around it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.fake_slurm import FakeSlurm
from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.package_folders import resource
from xray_hpc.records.atomic_files import write_json
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import RunRecord, read_record

JOB = {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "node1"}
ARRAY_TASK = {"SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "1", **JOB}

# Code that runs instead of ``python -m xray_hpc.training``. It ends with exit code 0.
FINISH = """
from pathlib import Path
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Status, update_record
print("epoch 1/1")
update_record(RunPaths(Path(sys.argv[-1])), status=Status.FINISHED)
"""
# Trains until a signal ends it, or the end of its worker.
HANG = "print('training', flush=True); os.read(int(os.environ['XRAY_HPC_WORKER_PIPE']), 1)"
KILL_ITSELF = "os.kill(os.getpid(), 9)"


def record_failure(failure: str) -> str:
    """Return the code of a training that records a failure."""
    return f"""
from pathlib import Path
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Status, update_record
error = {{"type": "E", "message": "recorded"}}
update_record(RunPaths(Path(sys.argv[-1])), status=Status.FAILED, failure={failure!r}, error=error)
"""


class JobStarter:
    """Start jobs/run.py with code in place of the training process."""

    def __init__(self, folder: Path, run: RunPaths) -> None:
        self._folder, self._run = folder, run
        self._started: list[subprocess.Popen[str]] = []
        self.settings = ""  # code that the jobs and their trainings execute first

    def __call__(
        self, code: str, *arguments: str | Path, **environment: str
    ) -> subprocess.Popen[str]:
        """Start the job of the first run, or with other arguments. stderr goes to its stdout."""
        self._folder.mkdir(exist_ok=True)
        hook = f"{self.settings}\nimport os, sys\nif 'xray_hpc.training' in sys.orig_argv:\n"
        hook += f"    exec({code!r})\n"
        hook += "    sys.stdout.flush()\n    os._exit(0)\n"
        (self._folder / "sitecustomize.py").write_text(hook)
        clean = {key: value for key, value in os.environ.items() if not key.startswith("SLURM")}
        process = subprocess.Popen(
            [sys.executable, str(resource("jobs") / "run.py"), *(arguments or [self._run.folder])],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=clean | {"PYTHONPATH": str(self._folder)} | environment,
        )
        self._started.append(process)
        return process

    def run(self, code: str, *arguments: str | Path, **environment: str) -> tuple[int, str]:
        """Start a job and wait for it; return its exit code and output."""
        return wait_for_end(self(code, *arguments, **environment))

    def stop(self) -> None:
        """Kill the jobs that are still running."""
        for process in self._started:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


class FakeScontrol:
    """``scontrol`` for job 17, which records the changes that are requested."""

    def __init__(self, site: FakeSlurm, folder: Path) -> None:
        self.site, self.file = site, folder / "requests"
        self.show_job()
        site.answer("scontrol", "*show config", "KillWait = 30 sec\n")
        for command in ("requeue", "update"):
            site.act("scontrol", f"{command} *", f'echo "$*" >> {self.file}')

    def show_job(self, state: str = "RUNNING", restarts: int = 0) -> None:
        """Report this state of the job from now on."""
        self.site.answer(
            "scontrol",
            "*show job*",
            f"JobId=17 JobState={state} Restarts={restarts} BatchFlag={1 + (restarts > 0)} "
            "RunTime=00:01:00 "
            "TimeLimit=10:00:00 SubmitTime=2026-01-01T00:00:00 NumCPUs=8 TRES=cpu=8,mem=2G",
        )

    @property
    def requests(self) -> list[str]:
        """The requeue and update commands so far."""
        return self.file.read_text().splitlines() if self.file.exists() else []


def write_submission(runs: Sequence[RunPaths], **cluster: Any) -> Path:
    """Write a submission of two tasks, of which the second has these runs."""
    folder = runs[0].sweep.slurm / "20260101-000000-abcd"
    values = asdict(ClusterConfig("slurm", runs_per_job=len(runs))) | cluster
    tasks = [[], [run.name for run in runs]]
    folder.mkdir(parents=True)
    write_json(folder / "tasks.json", {"kind": "runs", "cluster": values, "tasks": tasks})
    return folder


def record_of(run: RunPaths) -> RunRecord:
    """Return the record of a run, which exists."""
    record = read_record(run)
    assert record is not None
    return record


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Wait until the condition holds; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def wait_for_training(run: RunPaths) -> None:
    """Wait until HANG trains the run."""
    wait_until(lambda: run.log.exists() and "training" in run.log.read_text())


def wait_for_end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code and the output of a job once it has ended."""
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a job, but not its training process."""
    process.kill()
    process.wait()
