"""How signals and a dead worker end the training process, with a sleep instead of a training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from xray_hpc.job_logging import WORKER_PIPE

HEAD = """
import os, sys, time
from pathlib import Path
from xray_hpc.training.signals import *
exit_on_signals()
if pipe := os.environ.get("XRAY_HPC_WORKER_PIPE"):
    exit_with_parent(int(pipe))
"""
SLEEP = "print('ready', flush=True); time.sleep(600)"
SAVE = """
with UNSAVED_WORK:
    print("ready", flush=True)
    while not received_signal():
        time.sleep(0.01)
    Path(sys.argv[1]).write_text("whole")
time.sleep(600)
"""


SAVE_AND_EXIT = """
UNSAVED_WORK.acquire()
print("ready", flush=True)
while not received_signal():
    time.sleep(0.01)
Path(sys.argv[1]).write_text("whole")
exit_after_signal()
"""


@contextmanager
def started(code: str, path: Path, pipe: int | None = None) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HEAD + code, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=[] if pipe is None else [pipe],
        env=os.environ | ({} if pipe is None else {WORKER_PIPE: str(pipe)}),
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP])
def test_signal_ends_the_process_quietly(tmp_path: Path, number: int) -> None:
    with started(SLEEP, tmp_path) as process:
        process.send_signal(number)
        assert ended(process) == (128 + number, "")


def test_ignored_signal_remains_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with started(SLEEP, tmp_path) as process:
            process.send_signal(signal.SIGHUP)
            process.terminate()
            assert ended(process) == (143, "")
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signal_waits_for_unsaved_work(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    with started(SAVE, path) as process:
        process.terminate()
        assert ended(process) == (143, "")
    assert path.read_text() == "whole"


def test_holder_saves_and_exits_after_a_signal(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    with started(SAVE_AND_EXIT, path) as process:
        process.send_signal(signal.SIGUSR2)
        assert ended(process) == (128 + signal.SIGUSR2, "")
    assert path.read_text() == "whole"


@pytest.mark.parametrize("code", [SLEEP, SAVE])
def test_process_exits_at_once_with_its_worker(tmp_path: Path, code: str) -> None:
    path = tmp_path / "checkpoint"
    ours, workers = os.pipe()
    with started(code, path, ours) as process:
        os.close(ours)
        assert process.poll() is None
        os.close(workers)
        ended(process)
    assert not path.exists()
