"""The folder of a sweep whose launch fails, and the files of one that starts nothing."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path

import pytest

from tests.conftest import Composer
from tests.fake_slurm import FakeSlurm
from xray_hpc.config.report_settings import ReportSettings
from xray_hpc.config.yaml_files import read_yaml
from xray_hpc.errors import ConfigError, LockedError, NoClusterError, StorageError, UserError
from xray_hpc.launching import launch_sweep
from xray_hpc.launching.launch_sweep import _sweep_folder, launch, resolve_kind
from xray_hpc.monitoring.run_state import LaunchDecision
from xray_hpc.records.paths import SweepPaths


@pytest.mark.parametrize(("error", "remains"), [(ConfigError, False), (LockedError, True)])
def test_new_sweep_folder_is_removed_unless_another_launch_uses_it(
    tmp_path: Path, error: type[UserError], remains: bool
) -> None:
    sweep = SweepPaths(tmp_path / "results" / "s")
    with pytest.raises(error), _sweep_folder(sweep):
        raise error("refused")
    assert sweep.folder.exists() == remains


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EMFILE])
def test_new_sweep_folder_is_removed_after_an_error_of_the_machine(
    tmp_path: Path, code: int
) -> None:
    sweep = SweepPaths(tmp_path / "results" / "s")
    with pytest.raises(OSError) as caught, _sweep_folder(sweep):  # noqa: PT011
        raise OSError(code, os.strerror(code))
    assert caught.value.errno == code
    assert not sweep.folder.exists()


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_full_disk_is_a_storage_error_and_no_sweep_folder_is_left(
    composer: Composer, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    plan = composer.plan(["cluster.kind=none"])
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageError):
        launch(plan, [])
    assert not plan.sweep.folder.exists()


@pytest.mark.parametrize("error", [ConfigError("bad"), OSError(errno.EIO, "Input/output error")])
def test_new_sweep_folder_remains_once_a_run_has_started(tmp_path: Path, error: Exception) -> None:
    sweep = SweepPaths(tmp_path / "results" / "s")
    lease = sweep.run("cnn-1").lease

    def start_a_run() -> None:
        lease.mkdir(parents=True)
        raise error

    with pytest.raises(type(error)), _sweep_folder(sweep):
        start_a_run()
    assert lease.exists()


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


def test_note_names_settings_that_only_slurm_jobs_use(
    composer: Composer, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = composer.plan(["dry_run=true", "cluster.kind=local", "cluster.python=/opt/python"])
    cluster = dataclasses.replace(plan.settings.cluster, setup=("module load cuda",))
    settings = dataclasses.replace(plan.settings, cluster=cluster)
    launch(dataclasses.replace(plan, settings=settings), None)
    assert "Slurm jobs: cluster.setup, cluster.python\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("images", "damage", "command"),
    [(True, False, ["first"]), (False, False, ["second"]), (True, True, ["second"])],
    ids=["same settings", "other settings", "a damaged file"],
)
def test_launch_that_starts_nothing_saves_changed_settings_of_the_report(
    composer: Composer,
    monkeypatch: pytest.MonkeyPatch,
    images: bool,
    damage: bool,
    command: list[str],
) -> None:
    plan = composer.plan(["cluster.kind=none"])
    launch(plan, ["first"])
    if damage:
        plan.sweep.sweep_yaml.write_text("report: [")
    nothing = {run.name: LaunchDecision(False, "finished") for run in plan.runs}
    monkeypatch.setattr(launch_sweep, "decide_runs", lambda *_: nothing)
    settings = dataclasses.replace(plan.settings, report=ReportSettings(images=images))
    launch(dataclasses.replace(plan, settings=settings), ["second"])
    saved = read_yaml(plan.sweep.sweep_yaml)
    assert saved["report"] == {"select": "val_loss", "images": images}
    assert saved["command"] == command
