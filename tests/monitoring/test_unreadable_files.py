"""A file that cannot be read is the state of its run or sweep, and never hides the others."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.run_folders import Programs, Sweep
from xray_hpc.errors import StorageError
from xray_hpc.monitoring.cancel_runs import plan_cancel
from xray_hpc.monitoring.discovery import find_run, find_sweep, find_sweeps
from xray_hpc.monitoring.run_state import State
from xray_hpc.monitoring.status_view import sweep_lines
from xray_hpc.monitoring.sweep_status import RunStatus, SweepMonitor, SweepStatus
from xray_hpc.monitoring.terminal_table import Screen
from xray_hpc.records.run_record import Status

NOBODY = 65534
AS_ANOTHER_USER = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def link_loop(path: Path) -> None:
    path.symlink_to(path.name)


def sparse_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


Make = Callable[[Path], None]
NOT_FILES: list[Make] = [os.mkdir, os.mkfifo, link_loop, sparse_file]


def replace(path: Path, make: Make) -> None:
    path.unlink(missing_ok=True)
    make(path)


def statuses(*sweeps: Sweep) -> list[SweepStatus]:
    return SweepMonitor().read_status([sweep.paths for sweep in sweeps])


def by_run(status: SweepStatus) -> dict[str, RunStatus]:
    return {run.run: run for run in status.runs}


@pytest.mark.parametrize("make", NOT_FILES)
@pytest.mark.parametrize("name", ["run.json", "metrics.json"])
def test_unreadable_record_is_the_state_of_its_run(tmp_path: Path, name: str, make: Make) -> None:
    sweep = Sweep(tmp_path / "lr")
    replace(sweep.finished("ft-1").folder / name, make)
    sweep.finished("ft-2")
    found = by_run(statuses(sweep)[0])
    assert found["ft-1"].state is State.UNREADABLE
    assert found["ft-1"].reason.startswith(f"unreadable: {name} (")
    assert found["ft-1"].reason.endswith("; remove or move it")
    assert found["ft-2"].state is State.FINISHED
    lines = list(sweep_lines(statuses(sweep)[0], Screen(), None))
    assert not [line for line in lines if line.startswith("resume:")]
    assert plan_cancel(sweep.paths).ended["ft-1"] is State.UNREADABLE


@pytest.mark.parametrize("make", NOT_FILES)
@pytest.mark.parametrize("name", ["progress.json", "checkpoint/feature_blocks"])
def test_unreadable_progress_is_unknown(tmp_path: Path, name: str, make: Make) -> None:
    sweep = Sweep(tmp_path / "lr")
    run = sweep.add("ft-1", status=Status.FAILED)
    run.checkpoint_folder.mkdir()
    replace(run.folder / name, make)
    (found,) = statuses(sweep)[0].runs
    assert (found.state, found.epoch) == (State.FAILED, None)


@pytest.mark.parametrize("make", [*NOT_FILES, Path.touch])
def test_runs_in_place_of_a_folder(tmp_path: Path, make: Make) -> None:
    sweep, other = Sweep(tmp_path / "lr"), Sweep(tmp_path / "other")
    sweep.add("ft-1")
    other.finished("ft-1")
    sweep.paths.runs.rename(tmp_path / "away")
    make(sweep.paths.runs)
    broken, whole = statuses(sweep, other)
    assert whole.runs[0].state is State.FINISHED
    state = State.MISSING if make is os.mkdir else State.UNREADABLE
    assert [run.state for run in broken.runs] == [state]
    assert bool(broken.problem) == (make is not os.mkdir)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, link_loop])
def test_ledger_in_place_of_a_file(tmp_path: Path, make: Make) -> None:
    sweep, other = Sweep(tmp_path / "lr"), Sweep(tmp_path / "other")
    sweep.add("ft-1")
    other.finished("ft-1")
    replace(sweep.paths.ledger, make)
    broken, whole = statuses(sweep, other)
    assert whole.runs[0].state is State.FINISHED
    assert str(sweep.paths.ledger) in broken.problem


def test_link_loop_in_results_is_no_sweep(tmp_path: Path) -> None:
    Sweep(tmp_path / "lr")
    link_loop(tmp_path / "loop")
    assert [sweep.name for sweep in find_sweeps(tmp_path)] == ["lr"]


def test_results_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    with pytest.raises(StorageError, match=os.strerror(errno.ENOTDIR)):
        find_sweeps(tmp_path / "results")


def test_find_run_skips_sweeps_that_cannot_be_read(tmp_path: Path) -> None:
    broken = Sweep(tmp_path / "a")
    broken.paths.runs.rmdir()
    link_loop(broken.paths.runs)
    broken.paths.ledger.touch()
    Sweep(tmp_path / "b").add("ft-1")
    assert find_run("ft-1", tmp_path).sweep.name == "b"
    with pytest.raises(StorageError):
        find_run("a/ft-1", tmp_path)


@pytest.fixture
def shared() -> Iterator[Path]:
    """Return a folder in which every user can read."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def as_nobody(verb: str, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as another user, who may not be able to read this Python's files."""
    program = f"""
import os, sys
import xray_hpc.{verb} as command, xray_hpc.report.collect_sweep
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
command.entry()
"""
    words = (sys.executable, "-c", program, *words)
    return subprocess.run(words, cwd=folder, capture_output=True, encoding="utf-8")


@AS_ANOTHER_USER
def test_sweep_of_another_user_does_not_hide_the_others(shared: Path, programs: Programs) -> None:
    closed, other = Sweep(shared / "results" / "closed"), Sweep(shared / "results" / "open")
    closed.finished("ft-1")
    other.finished("ft-1")
    other.finished("ft-2").record.chmod(0o600)
    closed.paths.folder.chmod(0o700)
    ended = as_nobody("status", folder=shared)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line.split()[0] for line in ended.stdout.splitlines()[1:3]] == ["open", "closed"]
    assert "ask its owner, root, for access" in ended.stdout
    assert "restore" not in ended.stdout
    ended = as_nobody("status", "open", "--json", folder=shared)
    states = [json.loads(line)["state"] for line in ended.stdout.splitlines()]
    assert states == ["finished", "unreadable"]
    for verb in ("status", "collect", "cancel"):
        ended = as_nobody(verb, "closed", folder=shared)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.count("\n") == 1
        assert "ask its owner, root, for access" in ended.stderr


def test_find_sweep_of_a_file_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "lr").touch()
    with pytest.raises(Exception, match="no sweep 'lr'"):
        find_sweep("lr", tmp_path)
