"""The folder of a sweep whose launch fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from xray_hpc.errors import ConfigError, LockedError, UserError
from xray_hpc.launching.launch_sweep import _sweep_folder
from xray_hpc.records.paths import SweepPaths


@pytest.mark.parametrize(("error", "remains"), [(ConfigError, False), (LockedError, True)])
def test_new_sweep_folder_is_removed_unless_another_launch_uses_it(
    tmp_path: Path, error: type[UserError], remains: bool
) -> None:
    sweep = SweepPaths(tmp_path / "results" / "s")
    with pytest.raises(error), _sweep_folder(sweep):
        raise error("refused")
    assert sweep.folder.exists() == remains
