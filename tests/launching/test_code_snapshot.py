"""The copy of the code that jobs run from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xray_hpc.errors import UserError
from xray_hpc.launching import code_snapshot
from xray_hpc.launching.local import job_command
from xray_hpc.launching.run_folders import prepare
from xray_hpc.records.paths import RunPaths

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ["conf", "hydra_plugins", "jobs", "slurm_templates", "xray_hpc"]
Take = Callable[[], Path]


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The code in a folder that is no checkout."""
    folder = tmp_path / "source"
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    return folder


@pytest.fixture
def checkout(installed: Path) -> Path:
    """The code in a checkout, with a folder that no job needs."""
    (installed / "tests").mkdir()
    (installed / "tests" / "test_x.py").touch()
    (installed / ".gitignore").write_text("__pycache__\n")
    git(installed, "init", "-q")
    git(installed, "add", ".")
    git(installed, "commit", "-q", "-m", "all")
    return installed


def take_of(source: Path, folder: Path) -> Path:
    """The copy that the code in ``source`` takes of itself."""
    script = (
        "import sys; from pathlib import Path; from xray_hpc.launching.code_snapshot import take\n"
        "print(take(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        env=os.environ | {"PYTHONPATH": str(source)},
        cwd=folder.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture
def take(checkout: Path, tmp_path: Path) -> Take:
    """Take a copy of the checkout."""
    return lambda: take_of(checkout, tmp_path / "code")


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_it_holds_what_jobs_run_and_nothing_else(take: Take, checkout: Path) -> None:
    copy = take()
    assert sorted(path.name for path in copy.iterdir()) == FOLDERS
    for name in FOLDERS:
        assert files(copy / name) == files(checkout / name)


def test_files_are_copied_as_they_stand_not_as_they_were_committed(
    take: Take, checkout: Path
) -> None:
    (checkout / "xray_hpc" / "metrics.py").write_text("edited = 1\n")
    (checkout / "xray_hpc" / "staged.py").write_text("new = 1\n")
    git(checkout, "add", "xray_hpc/staged.py")
    (checkout / "jobs" / "stage.py").unlink()
    (checkout / "xray_hpc" / "untracked.py").touch()
    copied = files(take())
    assert copied["xray_hpc/metrics.py"] == b"edited = 1\n"
    assert copied["xray_hpc/staged.py"] == b"new = 1\n"
    assert "jobs/stage.py" not in copied
    assert "xray_hpc/untracked.py" not in copied


def test_the_same_code_has_one_copy_and_other_code_another(take: Take, checkout: Path) -> None:
    first = take()
    before = (first / "xray_hpc" / "cli.py").stat().st_ino
    assert take() == first
    assert (first / "xray_hpc" / "cli.py").stat().st_ino == before
    (checkout / "xray_hpc" / "metrics.py").write_text("edited = 1\n")
    second = take()
    assert sorted(first.parent.iterdir()) == sorted([first, second])


def test_a_copy_takes_itself_for_its_copy(take: Take) -> None:
    copy = take()
    assert take_of(copy, copy.parent) == copy


def test_several_launches_at_once_end_with_one_copy(tmp_path: Path) -> None:
    copies: list[Path] = []
    threads = [
        threading.Thread(target=lambda: copies.append(code_snapshot.take(tmp_path)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(copies) == 6
    assert list(tmp_path.iterdir()) == [copies[0]]


def test_a_copy_that_fails_half_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def full(handle: int) -> None:
        synced.append(handle)
        if len(synced) == 20:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"^cannot copy the code to .*No space left on device"):
        code_snapshot.take(tmp_path / "code")
    assert list((tmp_path / "code").iterdir()) == []


def test_of_an_installed_package_the_copy_looks_like_a_checkouts(
    installed: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site-packages"
    shutil.copytree(installed / "xray_hpc", site / "xray_hpc")
    shutil.copytree(installed / "hydra_plugins", site / "hydra_plugins")
    (site / "hydra_plugins" / "another_projects.py").touch()
    for name in ("conf", "jobs", "slurm_templates"):
        shutil.copytree(installed / name, site / "xray_hpc" / name)
    assert files(take_of(site, tmp_path / "code")) == files(installed)


def test_what_git_does_not_know_is_said(checkout: Path) -> None:
    (checkout / "xray_hpc" / "mine.py").touch()
    script = "from xray_hpc.launching.code_snapshot import check; print(check())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(checkout)},
        cwd=checkout.parent,
        capture_output=True,
        text=True,
    )
    assert "leaves out xray_hpc/mine.py, which git does not know: git add it" in done.stdout


# Says where the job and its training have their modules from, and ends the training there.
WATCH = """
import os, sys

class Watch:
    def find_spec(self, name, path, target=None):
        if name in ("xray_hpc.worker.worker", "xray_hpc.training"):
            print("found in", path[0], flush=True)
        if name == "xray_hpc.training":
            os._exit(1)

sys.meta_path.insert(0, Watch())
"""


NEEDS_SAFE_PATH = pytest.mark.skipif(sys.version_info < (3, 11), reason="refused there")


@pytest.mark.parametrize("where", ["elsewhere", pytest.param("checkout", marks=NEEDS_SAFE_PATH)])
def test_a_job_and_its_training_import_all_from_the_copy(
    where: str,
    composer: Any,
    installed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Though this environment has the checkout installed, and the job may start in it."""
    plan = composer.plan([])
    (run,) = plan.runs
    prepare(plan, ["x"], {run.name})
    paths: RunPaths = plan.sweep.run(run.name)
    copy = take_of(installed, tmp_path / "code")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(WATCH)
    monkeypatch.setenv("PYTHONPATH", str(site))
    done = subprocess.run(
        job_command("run", str(paths.folder), code=copy),
        env=os.environ | code_snapshot.environment(copy),
        cwd=REPOSITORY if where == "checkout" else tmp_path,
        capture_output=True,
        text=True,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("found in")]
    assert found == [f"found in {copy}/xray_hpc/worker", f"found in {copy}/xray_hpc"]
