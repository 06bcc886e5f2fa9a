"""Holding a process of a test at a known point."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hold import Hold

RENAME = "import os; [os.replace(f'{n}.tmp', f'{n}.txt') for n in (1, 2)]"


def start(folder: Path, hold: Hold) -> subprocess.Popen[str]:
    for number in (1, 2):
        (folder / f"{number}.tmp").touch()
    return subprocess.Popen(
        [sys.executable, "-c", RENAME],
        cwd=folder,
        env=os.environ | hold.environment,
        stdin=subprocess.DEVNULL,
        text=True,
    )


@pytest.fixture
def hold(tmp_path: Path) -> Hold:
    """A hold before the second rename."""
    hold = Hold(tmp_path / "hold", "os.replace", ".txt", count=2)
    hold.begin()
    return hold


def test_hold_keeps_a_process_at_its_point_until_release(tmp_path: Path, hold: Hold) -> None:
    with start(tmp_path, hold) as process:
        hold.wait_for(process)
        assert sorted(path.name for path in tmp_path.glob("[12].*")) == ["1.txt", "2.tmp"]
        hold.release()
    assert process.returncode == 0
    assert (tmp_path / "2.txt").exists()


def test_held_process_can_be_killed(tmp_path: Path, hold: Hold) -> None:
    with start(tmp_path, hold) as process:
        hold.wait_for(process)
        process.kill()
    assert (tmp_path / "2.tmp").exists()


def test_released_hold_holds_no_process(tmp_path: Path, hold: Hold) -> None:
    hold.release()
    with start(tmp_path, hold) as process:
        pass
    assert (process.returncode, hold.held()) == (0, 0)
