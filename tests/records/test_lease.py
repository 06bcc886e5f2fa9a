"""Test the lease on a run folder between processes and hosts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xray_hpc.records.lease import Lease, LeaseError
from xray_hpc.records.lease_file import current_owner, request_lease

BEAT, EXPIRY = 0.05, 0.6
HOLD = """
import sys, time
from pathlib import Path
from xray_hpc.records.lease import Lease
lease = Lease.acquire(Path(sys.argv[1]), job="17_3")
print("held", flush=True)
time.sleep(600)
"""


def take(path: Path) -> Lease:
    return Lease.acquire(path, heartbeat=BEAT, expiry=EXPIRY)


def files(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def until(condition: Any) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def owned_elsewhere(path: Path, number: int = 1, **changes: Any) -> Path:
    """Make the owner of a lease look like a process of another host."""
    path.mkdir(exist_ok=True)
    owner = {"host": "node7", "user": "eva", "pid": 1, "since": "", "boot": "another"}
    file = path / str(number)
    file.write_text(json.dumps(owner | changes))
    return file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run" / ".lease"


@pytest.fixture
def other(path: Path) -> Any:
    """Return another process, which holds the lease."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_new_lease_has_no_owner(path: Path) -> None:
    assert current_owner(path) is None
    assert not path.exists()


def test_current_owner_is_named_until_release(path: Path) -> None:
    with take(path) as lease:
        owner = current_owner(path)
        assert owner is not None
        assert owner.pid == os.getpid()
        assert not lease.lost
    assert current_owner(path) is None


def test_acquire_a_held_lease_raises_with_its_owner(path: Path, other: Any) -> None:
    with pytest.raises(LeaseError, match=rf"held by process {other.pid} of .*, job 17_3") as error:
        take(path)
    assert error.value.owner.pid == other.pid


def test_released_lease_can_be_acquired_at_once(path: Path) -> None:
    for _ in range(3):
        with take(path):
            pass
    assert files(path) == ["3"]


@pytest.mark.parametrize("takers", [2, 8])
def test_concurrent_acquires_have_one_winner(path: Path, takers: int) -> None:
    def attempt(_: int) -> Lease | None:
        try:
            return take(path)
        except LeaseError:
            return None

    with ThreadPoolExecutor(takers) as pool:
        for _ in range(20):
            held = [lease for lease in pool.map(attempt, range(takers)) if lease]
            assert len(held) == 1
            held[0].release()


def test_killed_local_owner_is_replaced_at_once(path: Path, other: Any) -> None:
    other.send_signal(signal.SIGKILL)
    other.wait()
    with Lease.acquire(path, expiry=3600) as lease:
        assert not lease.lost


def test_suspended_local_owner_keeps_the_lease(path: Path, other: Any) -> None:
    other.send_signal(signal.SIGSTOP)
    with pytest.raises(LeaseError):
        Lease.acquire(path, expiry=0)


def test_reused_pid_does_not_keep_a_lease_alive(path: Path) -> None:
    with take(path):
        (file,) = path.iterdir()
        owner = json.loads(file.read_text())
        file.write_text(json.dumps(owner | {"began": owner["began"] - 1}))
        assert current_owner(path) is None


def test_remote_owner_is_replaced_after_expiry(path: Path) -> None:
    owned_elsewhere(path)
    began = time.monotonic()
    with take(path):
        assert time.monotonic() - began > EXPIRY
        assert files(path) == ["2"]


def test_remote_owner_with_heartbeats_keeps_the_lease(path: Path) -> None:
    file, ended = owned_elsewhere(path), threading.Event()

    def heartbeat() -> None:
        while not ended.wait(BEAT):
            os.utime(file)

    heart = threading.Thread(target=heartbeat)
    heart.start()
    with pytest.raises(LeaseError, match="process 1 of eva on node7"):
        Lease.acquire(path, expiry=3600)
    ended.set()
    heart.join()


@pytest.mark.parametrize("ahead", [-1e6, 1e6])
def test_acquire_does_not_compare_clocks(path: Path, ahead: float) -> None:
    there = time.time() + ahead
    os.utime(owned_elsewhere(path), (there, there))
    began = time.monotonic()
    with take(path):
        assert time.monotonic() - began > EXPIRY


def test_acquire_stops_waiting_when_asked_to(path: Path) -> None:
    owned_elsewhere(path)
    asked = iter([False, True])
    with pytest.raises(LeaseError, match="on node7"):
        Lease.acquire(path, heartbeat=BEAT, expiry=EXPIRY, should_stop=lambda: next(asked))
    assert files(path) == ["1"]


def test_current_owner_uses_the_last_heartbeat_and_writes_nothing(path: Path) -> None:
    file = owned_elsewhere(path)
    path.chmod(0o555)
    before = path.stat().st_mtime_ns
    assert current_owner(path, expiry=100) is not None
    past = time.time() - 101
    os.utime(file, (past, past))
    assert current_owner(path, expiry=100) is None
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("mine", ["boot", "namespace"])
def test_owner_of_another_boot_or_namespace_is_remote(path: Path, mine: str) -> None:
    with take(path):
        owner = json.loads((path / "1").read_text())
    owned_elsewhere(path, 2, **owner | {mine: "another", "began": 0})
    assert current_owner(path) is not None


def test_owner_that_is_still_writing_its_file_is_alive(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.mkdir(parents=True)
    (path / "1").touch()
    sleep = time.sleep

    def write_meanwhile(seconds: float) -> None:
        owned_elsewhere(path)
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", write_meanwhile)
    with pytest.raises(LeaseError, match="eva"):
        take(path)


def test_heartbeat_keeps_a_lease_beyond_its_expiry(path: Path) -> None:
    with take(path) as lease:
        (file,) = path.iterdir()
        first = file.stat().st_mtime
        until(lambda: file.stat().st_mtime > first + EXPIRY)
        assert not lease.lost


def test_owner_notices_that_its_lease_was_taken(path: Path) -> None:
    lease = take(path)
    owned_elsewhere(path, 2)
    until(lambda: lease.lost)
    lease.release()
    assert current_owner(path) is not None


def test_lease_is_lost_when_its_file_is_removed(path: Path) -> None:
    lease = take(path)
    (path / "1").unlink()
    until(lambda: lease.lost)


def test_lease_is_lost_before_expiry_if_it_cannot_be_renewed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = take(path)

    def fail(*_: Any, **options: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "utime", fail)
    until(lambda: lease.lost)
    assert current_owner(path) is not None
    monkeypatch.undo()
    until(lambda: not lease.lost)  # nobody took it meanwhile
    lease.release()


def test_suspended_owner_renews_before_it_reports_loss(path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from xray_hpc.records.lease import Lease
lease = Lease.acquire(Path(sys.argv[1]), heartbeat=0.1, expiry=6)
os.kill(os.getpid(), signal.SIGSTOP)
print(lease.lost)
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    time.sleep(3.5)  # more than half of its expiry
    process.send_signal(signal.SIGCONT)
    assert process.communicate()[0] == b"False\n"


def test_later_start_of_the_same_job_can_request_the_lease(path: Path) -> None:
    with Lease.acquire(path, job="17_3", restarts=1, heartbeat=BEAT, expiry=EXPIRY) as lease:
        request_lease(path, "17_3", 1)
        request_lease(path, "18", 7)
        time.sleep(4 * BEAT)
        assert not lease.requested
        request_lease(path, "17_3", 2)
        until(lambda: lease.requested)
        assert not lease.lost


def test_request_lease_counts_unanswered_requests(path: Path) -> None:
    with take(path):
        assert [request_lease(path, "17_3", start) for start in (0, 1, 1, 2)] == [1, 2, 2, 3]
    with Lease.acquire(path, job="17_3"):
        assert files(path) == ["2"]


def test_slow_acquire_does_not_take_a_lease_that_changed_hands(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(owned_elsewhere(path), (1, 1))
    name, held = socket.gethostname, list[Lease]()

    def write_slowly() -> str:
        monkeypatch.undo()
        take(path).release()
        held.append(take(path))
        return name()

    monkeypatch.setattr(socket, "gethostname", write_slowly)
    with pytest.raises(LeaseError, match=f"process {os.getpid()} "):
        take(path)
    assert files(path) == ["3"]
    assert not held[0].lost
    held[0].release()


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=20))
def test_lease_has_at_most_one_owner(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, bool]]
) -> None:
    path = tmp_path_factory.mktemp("lease") / ".lease"
    held: dict[int, Lease] = {}
    counts = Counter[bool]()
    for who, wants in steps:
        if wants:
            try:
                held[who] = take(path)
                counts[True] += 1
            except LeaseError:
                assert held
        elif who in held:
            held.pop(who).release()
        assert len(held) <= 1
        assert (current_owner(path) is not None) == bool(held)
    for lease in held.values():
        lease.release()
