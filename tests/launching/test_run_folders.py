"""Checks of the folders of a sweep before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.config.test_hydra_app import command
from tests.conftest import Composer
from tests.other_user import BEN, needs_root, shared_folder
from xray_hpc.errors import UserError
from xray_hpc.launching.run_folders import check_folders


def test_check_folders_writes_nothing(composer: Composer, tmp_path: Path) -> None:
    plan = composer.plan([f"results={tmp_path}/r", f"cache={tmp_path}/c/d"])
    before = list(tmp_path.iterdir())
    assert check_folders(plan.settings, "local") == []
    assert list(tmp_path.iterdir()) == before


@pytest.mark.parametrize("key", ["results", "cache"])
def test_check_folders_refuses_a_folder_that_cannot_be_written(
    composer: Composer, key: str
) -> None:
    settings = composer.plan([f"{key}=/proc/nothing"]).settings
    line = f"{key} is /proc/nothing, but /proc cannot be written .*{key}=FOLDER"
    with pytest.raises(UserError, match=line):
        check_folders(settings, "local")
    if key == "cache":  # a node may be able to
        (note,) = check_folders(settings, "slurm")
        assert note.startswith("cache is /proc/nothing, but /proc cannot be written")


def test_check_folders_refuses_a_cache_that_is_a_file(composer: Composer, tmp_path: Path) -> None:
    (tmp_path / "c").touch()
    with pytest.raises(UserError, match=r"cache is .* cannot be written"):
        check_folders(composer.plan([f"cache={tmp_path}/c"]).settings, "slurm")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
@pytest.mark.parametrize(
    ("closed", "line"), [("r", "r cannot be written"), ("r/s", "s cannot be read")]
)
def test_check_folders_refuses_a_folder_without_access(
    composer: Composer, tmp_path: Path, closed: str, line: str
) -> None:
    settings = composer.plan([f"results={tmp_path}/r", "name=s"]).settings
    settings.folder.mkdir(parents=True)
    (tmp_path / closed).chmod(0)
    with pytest.raises(UserError, match=line):
        check_folders(settings, "local")
    (tmp_path / closed).chmod(0o700)


@pytest.mark.parametrize("key", ["results", "cache"])
def test_check_folders_refuses_a_name_that_is_too_long(composer: Composer, key: str) -> None:
    settings = composer.plan([f"{key}={'a' * 300}/b"]).settings
    with pytest.raises(UserError, match=f"{key} is .*name too long"):
        check_folders(settings, "local")


@pytest.mark.parametrize(
    ("files", "refused"),
    [
        (["report/report.md"], True),
        (["growth.png", "data/index.csv"], True),
        ([], False),
        ([".lock"], False),
        (["data/index.csv"], False),  # of xray_hpc.stage
        (["report/report.md", "runs/cnn-1/run.json"], False),
        (["report/report.md", "sweep.yaml"], False),
    ],
)
def test_check_folders_refuses_a_folder_with_other_files(
    composer: Composer, files: list[str], refused: bool
) -> None:
    settings = composer.plan(["name=example"]).settings
    settings.folder.mkdir()
    for name in files:
        (settings.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (settings.folder / name).touch()
    if refused:
        with pytest.raises(UserError, match="but no sweep; choose another folder with name=NAME"):
            check_folders(settings, "local")
    else:
        assert check_folders(settings, "local") == []


@pytest.mark.parametrize("verb", ["launch", "train", "stage"])
def test_command_keeps_a_folder_with_other_files(tmp_path: Path, verb: str) -> None:
    report = tmp_path / "results" / "s" / "report"
    report.mkdir(parents=True)
    done = command(verb, "model=cnn", "name=s", "data.demo_images=40", folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: results/s holds report, but no sweep")
    assert [path.name for path in report.parent.iterdir()] == ["report"]


IMPORTS = """
from pathlib import Path
from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.config.sweep_settings import SweepSettings
from xray_hpc.launching.run_folders import check_folders
"""
CHECK = """
cache = Path(sys.argv[1])
cluster, results = ClusterConfig("local"), Path("/tmp")
settings = SweepSettings(cluster=cluster, name="s", results=results, cache=cache)
print(*check_folders(settings, sys.argv[2]))
"""


@needs_root
def test_check_folders_notes_a_cache_of_another_user() -> None:
    with shared_folder(0o755) as cache:
        home = {"XDG_CACHE_HOME": "/home/ben"}
        done = BEN.run(IMPORTS, CHECK, cache, "slurm", environment=home)
        assert done.stderr == ""
        assert str(cache) in done.stdout
        assert "/home/ben/xray_hpc" in done.stdout
        done = BEN.run(IMPORTS, CHECK, cache, "local", environment=home)
        assert (done.stdout.strip(), done.stderr) == ("", "")  # its jobs note it
