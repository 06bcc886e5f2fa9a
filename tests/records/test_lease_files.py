"""Leases whose files are damaged, from hosts with wrong clocks, or on a slow file system."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.records.test_lease import BEAT, EXPIRY, files, owned_elsewhere, take, until
from xray_hpc.errors import DataError
from xray_hpc.records.lease import Lease, LeaseError
from xray_hpc.records.lease_file import MAX_NUMBER, current_owner, read_lease


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / ".lease").mkdir()
    return tmp_path / ".lease"


@pytest.mark.parametrize(
    "name", ["0", "007", "²", "٣", "9" * 30, "9" * 200, "-1", "1.5", "1 ", "x"]
)
def test_names_that_are_no_numbers_are_ignored(path: Path, name: str) -> None:
    (path / name).touch()
    assert current_owner(path) is None
    with take(path):
        assert files(path) == sorted([name, "1"])


def test_lease_with_the_last_number_is_refused_in_one_line(path: Path) -> None:
    os.utime(owned_elsewhere(path, MAX_NUMBER), (0, 0))
    with pytest.raises(DataError, match=rf"\.lease is damaged: it holds {MAX_NUMBER}; remove it"):
        take(path)
    assert files(path) == [str(MAX_NUMBER)]


def fill(content: bytes) -> Callable[[Path], Any]:
    return lambda file: file.write_bytes(content)


def owner_with(**changes: Any) -> Callable[[Path], Any]:
    return lambda file: owned_elsewhere(file.parent, 7, **changes)


def make_sparse(file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(1 << 40)


ODD_FILES: dict[str, Callable[[Path], Any]] = {
    "folder": lambda file: (file / "x").mkdir(parents=True),
    "fifo": os.mkfifo,
    "dangling": lambda file: file.symlink_to("nowhere"),
    "loop": lambda file: file.symlink_to(file),
    "sparse": make_sparse,
    "empty": fill(b""),
    "binary": fill(b"\xff\0" * 50),
    "torn": fill(b'{"host": "no'),
    "deep": fill(b"[" * 10_000),
    "list": fill(b"[1]"),
    "long number": fill(b"7" * 9_000),
    "pid": owner_with(pid="self"),
    "host": owner_with(host=["a"]),
    "began": owner_with(began="1"),
    "restarts": owner_with(restarts=None),
}


@pytest.mark.parametrize("kind", ODD_FILES)
def test_lease_file_that_is_damaged_expires_as_any_other(path: Path, kind: str) -> None:
    ODD_FILES[kind](path / "7")
    (path / "wanted.17.1").mkdir()
    state = read_lease(path)
    assert (state.number, state.owner, state.alive) == (7, None, None)
    owner = current_owner(path)
    assert owner is not None
    assert str(owner) == "process 0 of an unknown user on an unknown host"
    began = time.monotonic()
    with Lease.acquire(path, job="17", heartbeat=BEAT, expiry=EXPIRY) as lease:
        assert time.monotonic() - began > EXPIRY
        assert "8" in files(path)
        time.sleep(3 * BEAT)
        assert not lease.lost


@pytest.mark.parametrize("kind", ["file", "loop", "dangling"])
def test_lease_that_is_not_a_folder_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ".lease"
    if kind == "file":
        path.touch()
    else:
        path.symlink_to(path if kind == "loop" else "nowhere")
    with pytest.raises(DataError, match=r"\.lease is not a folder; remove it"):
        take(path)


@pytest.mark.parametrize("ahead", [-1e9, -3600, 3600, 1e9])
def test_wrong_clock_of_another_host_does_not_make_its_lease_live_for_ever(
    path: Path, ahead: float
) -> None:
    there = time.time() + ahead
    os.utime(owned_elsewhere(path), (there, there))
    assert current_owner(path) is None


@pytest.mark.parametrize("ahead", [-1e9, 1e9])
def test_heartbeats_of_a_wrong_clock_keep_a_lease(
    path: Path, ahead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, sleep = owned_elsewhere(path), time.sleep
    beats = iter(range(1, 100))

    def beat(seconds: float) -> None:
        there = time.time() + ahead + next(beats)
        os.utime(file, (there, there))
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", beat)
    with pytest.raises(LeaseError, match="on node7"):
        take(path)


def test_lease_is_lost_when_its_folder_is_replaced(path: Path) -> None:
    lease = take(path)
    path.rename(path.with_name("renamed"))
    other = owned_elsewhere(path, 1)
    until(lambda: lease.lost)
    lease.release()
    assert other.stat().st_mtime > 0


def test_release_leaves_the_lease_in_a_folder_that_replaced_its_own(path: Path) -> None:
    lease = Lease.acquire(path, expiry=3600, heartbeat=3600)
    lease._released.set()  # no heartbeat finds out before
    path.rename(path.with_name("renamed"))
    other = owned_elsewhere(path, 1)
    lease.release()
    assert other.stat().st_mtime > 0


def test_lease_leaves_the_time_of_a_file_to_which_its_own_was_linked(
    path: Path, tmp_path: Path
) -> None:
    lease = Lease.acquire(path, expiry=3600, heartbeat=3600)
    target = tmp_path / "target"
    lease.file.rename(target)
    os.utime(target, (1, 1))
    lease.file.symlink_to(target)
    lease._renew()
    lease.release()
    assert target.stat().st_mtime == 1


def test_outdated_listing_gives_the_lease_to_one_process_only(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS caches the listing of a folder for up to a minute."""
    os.utime(owned_elsewhere(path, 1), (0, 0))
    owned_elsewhere(path, 2)
    monkeypatch.setattr(os, "listdir", lambda _: ["1"])
    with pytest.raises(LeaseError):
        take(path)
    monkeypatch.undo()
    assert files(path) == ["1", "2"]


def test_outdated_listing_after_acquiring_does_not_lose_the_lease(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "listdir", lambda _: [])
    with take(path) as lease:
        time.sleep(3 * BEAT)
        assert not lease.lost


def test_outdated_listing_does_not_hide_that_the_lease_was_taken(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = take(path)
    monkeypatch.setattr(os, "listdir", lambda _: ["1"])
    (path / "1").unlink()  # as the next owner does
    until(lambda: lease.lost)


def test_lease_is_lost_while_its_renewal_does_not_return(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    utime = os.utime

    def renew_late(*arguments: Any, **options: Any) -> None:
        time.sleep(EXPIRY)
        utime(*arguments, **options)

    lease = take(path)
    monkeypatch.setattr(os, "utime", renew_late)
    until(lambda: lease._is_overdue())
    assert current_owner(path) is not None
    assert lease.lost
    lease.release()


def test_content_of_a_lease_names_its_owner(path: Path) -> None:
    with take(path) as lease:
        assert json.loads(lease.file.read_text())["pid"] == os.getpid()
