"""Calls in other processes give what they give in this one, whatever happens to the processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xray_hpc.report import process_pool
from xray_hpc.report.process_pool import WORTH, Pool, available_cpus, spread

HERE = Path(__file__).parents[2]
PATHS = [f"/{i}" for i in range(WORTH + 5)]


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes, whatever the machine has."""
    monkeypatch.setattr(process_pool, "available_cpus", lambda: 2)


def size_when_released(given: tuple[str, bytes]) -> int:
    """Wait until a file exists."""
    while not os.path.exists(given[0]):
        time.sleep(0.01)
    return len(given[1])


def test_results_come_in_order(two: None) -> None:
    assert list(spread(os.path.basename, PATHS)) == [path[1:] for path in PATHS]


def test_few_calls_and_one_cpu_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_pool, "Worker", None)
    monkeypatch.setattr(process_pool, "available_cpus", lambda: 2)
    assert list(spread(abs, [-1, 2])) == [1, 2]
    monkeypatch.setattr(process_pool, "available_cpus", lambda: 1)
    assert list(spread(abs, range(-WORTH, 0))) == list(range(WORTH, 0, -1))


def test_what_a_dead_process_leaves_is_done_here(two: None) -> None:
    found = spread(os.path.basename, PATHS)
    first = next(found)
    for child in children():
        os.kill(child, signal.SIGKILL)
    assert [first, *found] == [path[1:] for path in PATHS]


def test_an_error_of_a_call_is_raised_here(two: None) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(spread(int, ["1"] * WORTH + ["one"]))


def test_to_begin_waits_for_no_process(two: None, tmp_path: Path) -> None:
    """A pipe holds little, and a process that sleeps, or is importing yet, reads none of it."""
    release = tmp_path / "release"
    with Pool(size_when_released) as pool:
        found = pool.begin([(str(release), bytes(10**6))] * 4, worth=2, chunk=1)
        release.touch()
        assert list(found) == [10**6] * 4


def test_a_process_that_was_started_before_is_given_what_is_too_little_for_one(two: None) -> None:
    others = set(children())  # of tests before this one
    with Pool(os.path.basename) as pool:
        pool.start()
        (started,) = set(children()) - others
        assert list(pool.begin(["/a", "/b"], chunk=1)) == ["a", "b"]
        assert set(children()) - others == {started}


def test_a_process_that_cannot_load_what_it_needs_leaves_its_part_to_this_one(
    two: None, capfd: pytest.CaptureFixture[str]
) -> None:
    with Pool(os.path.basename, loads="no.such.module") as pool:
        pool.start()
        assert list(pool.begin(["/a"])) == ["a"]
    assert capfd.readouterr().err == ""


def test_no_process_outlives_its_use(two: None) -> None:
    others = set(children())  # of tests before this one
    found = spread(abs, range(WORTH))
    next(found)
    assert len(set(children()) - others) == 2
    found.close()
    assert set(children()) <= others


def test_a_process_ends_with_the_one_that_started_it() -> None:
    code = (
        "import os, signal; from xray_hpc.report.process_pool import Worker\n"
        "worker = Worker(abs); worker.begin([[1]]); worker.next()\n"
        "print(worker._process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE)
    process = Path("/proc") / done.stdout.strip()
    end = time.monotonic() + 30
    while process.exists() and "State:\tZ" not in (process / "status").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_ctrl_c_ends_all_of_it_quietly() -> None:
    code = (
        "import time; from xray_hpc import cli; from xray_hpc.report import process_pool\n"
        "process_pool.available_cpus = lambda: 2\n"
        "def main():\n"
        "    for _ in process_pool.spread(time.sleep, [0.01] * 10_000): print('one', flush=True)\n"
        "cli.run(main)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=HERE,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        started = children(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate()
    assert (process.returncode, said) == (130, "")
    assert len(started) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)


def test_the_cpus_are_those_of_the_process_and_of_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    assert available_cpus() == 8
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "2")
    assert available_cpus() == 2


def children(pid: int | str = "self") -> list[int]:
    """The processes that one started and has not waited for; by default this one."""
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in listed for child in file.read_text().split()]
