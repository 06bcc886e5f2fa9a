"""Tests that calls in processes return the same results, even if processes die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xray_hpc.report import process_pool
from xray_hpc.report.process_pool import MIN_CALLS, ProcessPool, available_cpus

REPOSITORY = Path(__file__).parents[2]
PATHS = [f"/{i}" for i in range(MIN_CALLS + 5)]


@pytest.fixture
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pool use two processes."""
    monkeypatch.setattr(process_pool, "available_cpus", lambda: 2)


def size_when_released(argument: tuple[str, bytes]) -> int:
    """Wait until a file exists."""
    while not os.path.exists(argument[0]):
        time.sleep(0.01)
    return len(argument[1])


def test_results_are_in_order(two_cpus: None) -> None:
    with ProcessPool(os.path.basename) as pool:
        assert list(pool.map(PATHS)) == [path[1:] for path in PATHS]


def test_few_calls_or_one_cpu_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_pool, "WorkerProcess", None)
    monkeypatch.setattr(process_pool, "available_cpus", lambda: 2)
    with ProcessPool(abs) as pool:
        assert list(pool.map([-1, 2])) == [1, 2]
        monkeypatch.setattr(process_pool, "available_cpus", lambda: 1)
        assert list(pool.map(range(-MIN_CALLS, 0))) == list(range(MIN_CALLS, 0, -1))


def test_calls_of_a_killed_process_are_repeated_here(two_cpus: None) -> None:
    with ProcessPool(os.path.basename) as pool:
        found = pool.map(PATHS)
        first = next(found)
        for child in children():
            os.kill(child, signal.SIGKILL)
        assert [first, *found] == [path[1:] for path in PATHS]


def test_exception_of_a_call_is_raised_here(two_cpus: None) -> None:
    with ProcessPool(int) as pool, pytest.raises(ValueError, match="invalid literal"):
        list(pool.map(["1"] * MIN_CALLS + ["one"]))


def test_map_returns_before_processes_read_their_input(two_cpus: None, tmp_path: Path) -> None:
    """A pipe's buffer is small, and a process that imports or sleeps does not read it."""
    release = tmp_path / "release"
    with ProcessPool(size_when_released) as pool:
        found = pool.map([(str(release), bytes(10**6))] * 4, min_calls=2, chunk_size=1)
        release.touch()
        assert list(found) == [10**6] * 4


def test_started_process_is_used_for_few_calls(two_cpus: None) -> None:
    others = set(children())  # from earlier tests
    with ProcessPool(os.path.basename) as pool:
        pool.start()
        (started,) = set(children()) - others
        assert list(pool.map(["/a", "/b"], chunk_size=1)) == ["a", "b"]
        assert set(children()) - others == {started}


def test_calls_of_a_process_that_fails_to_import_are_repeated_here(
    two_cpus: None, capfd: pytest.CaptureFixture[str]
) -> None:
    with ProcessPool(os.path.basename, preload="no.such.module") as pool:
        pool.start()
        assert list(pool.map(["/a"])) == ["a"]
    assert capfd.readouterr().err == ""


def test_leaving_the_pool_kills_the_processes(two_cpus: None) -> None:
    others = set(children())  # from earlier tests
    with ProcessPool(abs) as pool:
        next(pool.map(range(MIN_CALLS)))
        assert len(set(children()) - others) == 2
    assert set(children()) <= others


def test_worker_ends_when_its_parent_is_killed() -> None:
    code = (
        "import os, signal; from xray_hpc.report.process_pool import WorkerProcess\n"
        "worker = WorkerProcess(abs); worker.start([[1]]); worker.next_results()\n"
        "print(worker._process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY
    )
    process = Path("/proc") / done.stdout.strip()
    end = time.monotonic() + 30
    while process.exists() and "State:\tZ" not in (process / "status").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_ctrl_c_ends_all_processes_quietly() -> None:
    code = (
        "import time; from xray_hpc import command_line; from xray_hpc.report import process_pool\n"
        "process_pool.available_cpus = lambda: 2\n"
        "def main():\n"
        "    with process_pool.ProcessPool(time.sleep) as pool:\n"
        "        for _ in pool.map([0.01] * 10_000):\n"
        "            print('one', flush=True)\n"
        "command_line.run(main)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        started = children(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate()
    assert (process.returncode, stderr) == (130, "")
    assert len(started) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)


def test_available_cpus_respect_affinity_and_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    assert available_cpus() == 8
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "2")
    assert available_cpus() == 2


def children(pid: int | str = "self") -> list[int]:
    """Return the child processes of a process, by default of this one."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]
