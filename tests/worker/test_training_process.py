"""Resource usage and log of a training process."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.fake_job import JobStarter
from xray_hpc.records.paths import RunPaths
from xray_hpc.worker.training_process import RunLog


def test_resource_usage_is_that_of_the_child_itself() -> None:
    code = """
import os, subprocess, sys
from xray_hpc.worker.training_process import resource_usage
work = "x = bytearray(200 * 2**20); sum(range(10**7))"
process = subprocess.Popen([sys.executable, "-c", work])
print(resource_usage(os.wait4(process.pid, 0)[2]))
os._exit(0)
"""
    # A child is as large as its parent until it executes its program, so the parent must be small.
    output = subprocess.run([sys.executable, "-uc", code], capture_output=True, text=True).stdout
    usage = ast.literal_eval(output)
    assert 200 <= usage["peak_memory"] < 400
    assert usage["cpu_seconds"] > 0


def test_run_log_keeps_only_the_last_state_of_a_progress_bar(run: RunPaths) -> None:
    with RunLog(run, "heading") as log:
        assert log.add(b"1/2\r2/2\nepo") == [b"2/2\n"]
        assert log.add(b"ch 1\n") == [b"epoch 1\n"]
        log.add(b"3/4\r4/4")
    assert run.log.read_text() == "--- heading\n2/2\nepoch 1\n4/4\n"


def test_run_log_does_not_follow_a_link(run: RunPaths, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    run.log.unlink(missing_ok=True)
    run.log.symlink_to(tmp_path / "mine")
    with RunLog(run, "heading") as log:
        log.add(b"epoch 1\n")
    assert (tmp_path / "mine").read_text() == "mine"


def test_run_log_that_cannot_be_written_is_reported_once(
    run: RunPaths, caplog: pytest.LogCaptureFixture
) -> None:
    run.log.unlink(missing_ok=True)
    run.log.mkdir()
    with RunLog(run, "heading") as log:
        assert log.add(b"epoch 1\n") == [b"epoch 1\n"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_job_keeps_its_exit_code_if_stdout_is_closed(
    job: JobStarter, run: RunPaths, unbuffered: str
) -> None:
    code = "print('a' * 2**16, flush=True); os._exit(3)"
    process = job(code, PYTHONUNBUFFERED=unbuffered)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 3
