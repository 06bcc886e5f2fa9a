"""Locks between processes, with flock and without."""

from __future__ import annotations

import errno
import fcntl
import functools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.hold import SITE, Hold
from tests.without_flock import SITECUSTOMIZE
from xray_hpc.errors import LockedError, StorageError
from xray_hpc.records import file_lock as module
from xray_hpc.records.file_lock import file_lock
from xray_hpc.records.lease import Lease


@pytest.fixture
def without_flock(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a ``sitecustomize`` that takes ``flock`` from a process."""
    site = tmp_path_factory.mktemp("site")
    hold = (SITE / "sitecustomize.py").read_text()
    (site / "sitecustomize.py").write_text(hold + SITECUSTOMIZE)
    return str(site)


@pytest.fixture(params=[None, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock on a file system that has ``flock``, or not."""

    def flock(*_: object) -> NoReturn:
        raise OSError(request.param, os.strerror(request.param))

    if request.param is not None:
        monkeypatch.setattr(fcntl, "flock", flock)
        monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    return tmp_path / "new" / ".lock"


def hold_lock(path: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a process that holds the lock, and wait until it does."""
    program = (
        "import sys, time; from pathlib import Path; "
        "from xray_hpc.records.file_lock import file_lock\n"
        "with file_lock(Path(sys.argv[1])):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(path)]
    holder = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | environment
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def kill(holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.communicate()


def test_file_lock_without_wait_raises_while_held(path: Path) -> None:
    with file_lock(path), pytest.raises(LockedError), file_lock(path, wait=False):
        pytest.fail("two hold one lock")


def test_file_lock_is_released_after_the_block(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), file_lock(path):
        raise ZeroDivisionError
    with file_lock(path, wait=False) as lock:
        os.pwrite(lock, b"owner", 0)
    assert path.read_text() == "owner"


def test_file_lock_prints_its_message_once_while_waiting(
    path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    order = []

    def second() -> None:
        with file_lock(path, message="waiting for the other"):
            order.append("second")

    thread = threading.Thread(target=second)
    with file_lock(path, message="not shown"):
        thread.start()
        message = ""
        while not message.endswith("\n"):
            message += capfd.readouterr().err
            time.sleep(0.01)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert message == "waiting for the other\n"
    assert capfd.readouterr().err == ""


def test_file_lock_is_released_when_its_process_is_killed(tmp_path: Path) -> None:
    holder = hold_lock(tmp_path / ".lock")
    with pytest.raises(LockedError), file_lock(tmp_path / ".lock", wait=False):
        pass
    kill(holder)
    with file_lock(tmp_path / ".lock", wait=False):
        pass
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]


def test_host_with_flock_respects_a_lock_of_one_without(tmp_path: Path, without_flock: str) -> None:
    holder = hold_lock(tmp_path / ".lock", PYTHONPATH=without_flock)
    with pytest.raises(LockedError), file_lock(tmp_path / ".lock", wait=False):
        pass
    kill(holder)
    with file_lock(tmp_path / ".lock", wait=False):
        assert (tmp_path / ".lock.lease" / "2").exists()


def test_lock_of_a_dead_host_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = tmp_path / ".lock.lease"
    lease.mkdir()
    owner = {"host": "node7", "user": "eva", "pid": 1, "since": "", "boot": "another"}
    (lease / "1").write_text(json.dumps(owner))
    quick = functools.partial(Lease.acquire, heartbeat=0.05, expiry=0.6)
    monkeypatch.setattr(Lease, "acquire", quick)
    began = time.monotonic()
    with file_lock(tmp_path / ".lock", wait=False):
        assert time.monotonic() - began > 0.6


def test_processes_without_flock_hold_a_lock_one_at_a_time(
    tmp_path: Path, without_flock: str
) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    program = (
        "import sys; from pathlib import Path; from xray_hpc.records import file_lock as module\n"
        "module.POLL_SECONDS = 0.01; lock, counter = map(Path, sys.argv[1:])\n"
        "for _ in range(20):\n"
        "    with module.file_lock(lock):\n"
        "        counter.write_text(str(int(counter.read_text()) + 1))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / ".lock"), str(counter)]
    environment = os.environ | {"PYTHONPATH": without_flock}
    processes = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert counter.read_text() == "60"


def test_second_launch_without_flock_is_refused_until_the_first_is_killed(
    tmp_path: Path, without_flock: str
) -> None:
    words = ["cluster=none", "name=s", "data.demo_images=60"]
    command = [sys.executable, "-m", "xray_hpc.launch", *words]
    hold = Hold(tmp_path / "hold", "xray_hpc.launch", "sweep.yaml")
    environment = os.environ | hold.environment | {"PYTHONPATH": without_flock}

    def launch() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    hold.begin()
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as first:
        hold.wait_for(first)
        second = launch()
        first.kill()
    hold.release()
    assert second.returncode == 2
    assert "another launch of" in second.stderr
    assert f"process {first.pid}" in second.stderr
    third = launch()
    assert third.returncode == 0, third.stderr
    assert (tmp_path / "results" / "s" / "sweep.yaml").exists()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_lock_that_is_no_regular_file_is_one_line(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / ".lock")
    with pytest.raises(StorageError, match=r"\.lock is not a regular file"):
        file_lock(tmp_path / ".lock").__enter__()
