from __future__ import annotations

import os
from pathlib import Path

import pytest

from xray_hpc.errors import LockedError
from xray_hpc.records import ledger
from xray_hpc.records.file_lock import file_lock
from xray_hpc.records.launch_lock import launch_lock, running_launch_position
from xray_hpc.records.paths import SweepPaths


def test_position_of_thousands_of_digits_is_not_used(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    ledger.append(sweep, "planned", runs={})
    with file_lock(sweep.lock) as lock:
        os.pwrite(lock, b"me\n" + b"9" * 5000 + b"\n", 0)
        assert running_launch_position(sweep) == ledger.size(sweep)


def test_locked_error_of_the_block_is_raised_as_it_is(tmp_path: Path) -> None:
    error = LockedError("another lock")
    with pytest.raises(LockedError) as caught, launch_lock(SweepPaths(tmp_path)):
        raise error
    assert caught.value is error
