from __future__ import annotations

from pathlib import Path

import pytest

from xray_hpc.errors import LockedError
from xray_hpc.records.launch_lock import launch_lock
from xray_hpc.records.paths import SweepPaths


def test_locked_error_of_the_block_is_raised_as_it_is(tmp_path: Path) -> None:
    error = LockedError("another lock")
    with pytest.raises(LockedError) as caught, launch_lock(SweepPaths(tmp_path)):
        raise error
    assert caught.value is error
