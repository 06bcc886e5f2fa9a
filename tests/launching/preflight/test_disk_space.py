from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Composer
from tests.launching.preflight.conftest import Check
from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.config.run_config import ModelConfig
from xray_hpc.config.sweep_settings import SweepSettings
from xray_hpc.errors import StorageError
from xray_hpc.launching.preflight import disk_space


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set how many blocks of 1 MB and how many files every file system has free."""

    def disk(*, megabytes: int = 10**6, free: int = 10**6, files: int = 10**7) -> None:
        size = os.statvfs_result(
            (10**6, 10**6, 10**7, megabytes, megabytes, files, free, free, 0, 255)
        )
        monkeypatch.setattr(os, "statvfs", lambda path: size)

    return disk


def test_check_refuses_too_little_space(check: Check, disk: Callable[..., None]) -> None:
    disk(megabytes=3)
    with pytest.raises(StorageError, match=r"^results: .* has 3 MiB free, .* about 3 MiB"):
        check()


@pytest.mark.parametrize(
    ("model", "parallel", "gigabytes"),
    [
        # Weights of 0.233 GB: eight times while a run trains, then once.
        (ModelConfig("ft", "resnet152v2", weights="none", preprocessing="backbone"), None, 18.9),
        (ModelConfig("ft", "resnet152v2", weights="none", preprocessing="backbone"), 2, 5.8),
        (ModelConfig("vgg"), None, 1.8),
        (ModelConfig("vgg"), 1, 0.54),
    ],
)
def test_check_estimates_checkpoints_of_parallel_runs_and_all_models(
    tmp_path: Path,
    composer: Composer,
    disk: Callable[..., None],
    model: ModelConfig,
    parallel: int | None,
    gigabytes: float,
) -> None:
    plan = composer.plan([])
    settings = dataclasses.replace(plan.settings, cluster=ClusterConfig("slurm", parallel=parallel))
    runs = [dataclasses.replace(plan.runs[0].config, model=model)] * 10
    disk(megabytes=round(gigabytes * 980))
    notes = "\n".join(disk_space.check_disk_space(settings, runs))
    found = re.search(r"these runs may need ([\d,]+) MiB", notes)
    assert found
    assert int(found[1].replace(",", "")) * 2**20 / 1e9 == pytest.approx(gigabytes, rel=0.02)


def test_check_refuses_too_few_free_files(check: Check, disk: Callable[..., None]) -> None:
    disk(free=12)
    with pytest.raises(StorageError, match=r"12 files, .* about 40"):
        check()


def test_check_accepts_a_file_system_without_a_file_count(
    check: Check, disk: Callable[..., None]
) -> None:
    disk(free=0, files=0)
    assert check() == []


def test_check_notes_folders_that_nodes_may_not_share() -> None:
    settings = SweepSettings(
        cluster=ClusterConfig("slurm"),
        name="s",
        results=Path("/tmp/results"),
        cache=Path("/dev/shm/cache"),
    )
    notes = disk_space.check_disk_space(settings, [])
    assert notes[0].startswith("results is in /tmp/results")
    # Without a note on the cache where /dev/shm is not a file system of its own.
    assert all(note.startswith("cache is in /dev/shm/cache") for note in notes[1:])


def test_file_systems_reads_the_type_of_each_mount_point(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("server:/home /home nfs4 rw 0 0\ntmpfs /dev/shm tmpfs rw,nosuid 0 0\n")
    assert disk_space.file_systems(mounts) == {Path("/home"): "nfs4", Path("/dev/shm"): "tmpfs"}
