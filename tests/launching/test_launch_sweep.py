"""The folder of a sweep whose launch fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fake_slurm import FakeSlurm
from xray_hpc.errors import ConfigError, LockedError, NoClusterError, UserError
from xray_hpc.launching.launch_sweep import _sweep_folder, resolve_kind
from xray_hpc.records.paths import SweepPaths


@pytest.mark.parametrize(("error", "remains"), [(ConfigError, False), (LockedError, True)])
def test_new_sweep_folder_is_removed_unless_another_launch_uses_it(
    tmp_path: Path, error: type[UserError], remains: bool
) -> None:
    sweep = SweepPaths(tmp_path / "results" / "s")
    with pytest.raises(error), _sweep_folder(sweep):
        raise error("refused")
    assert sweep.folder.exists() == remains


def test_missing_slurm_conf_is_reported_without_asking_slurm(
    site: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.answer("sinfo", "*")
    assert resolve_kind("auto") == "slurm"
    monkeypatch.setenv("SLURM_CONF", "/nowhere/slurm.conf")
    with pytest.raises(
        NoClusterError, match=r"^SLURM_CONF is /nowhere/slurm\.conf, which does not"
    ):
        resolve_kind("slurm")
    assert resolve_kind("auto") == "local"
