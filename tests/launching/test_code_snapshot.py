from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Composer
from tests.other_user import MALLORY, needs_root
from xray_hpc.errors import StorageError
from xray_hpc.launching.code_snapshot import snapshot_environment, take_snapshot
from xray_hpc.launching.run_folders import create_run_folders
from xray_hpc.records.paths import RunPaths

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ["conf", "hydra_plugins", "jobs", "slurm_templates", "xray_hpc"]
Take = Callable[[], Path]


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The code in a folder that is not a git checkout."""
    folder = tmp_path / "source"
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    return folder


@pytest.fixture
def checkout(installed: Path) -> Path:
    """The code in a git checkout, with a folder that jobs do not need."""
    (installed / "tests").mkdir()
    (installed / "tests" / "test_x.py").touch()
    (installed / ".gitignore").write_text("__pycache__\n")
    git(installed, "init", "-q")
    git(installed, "add", ".")
    git(installed, "commit", "-q", "-m", "all")
    return installed


def take_of(source: Path, folder: Path) -> Path:
    """Take a snapshot with the code in ``source``, in a process of its own."""
    script = (
        "import sys; from pathlib import Path\n"
        "from xray_hpc.launching.code_snapshot import take_snapshot\n"
        "print(take_snapshot(Path(sys.argv[1])))"
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
    """A function that takes a snapshot of the checkout."""
    return lambda: take_of(checkout, tmp_path / "code")


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_take_snapshot_copies_what_jobs_execute_and_nothing_else(
    take: Take, checkout: Path
) -> None:
    copy = take()
    assert sorted(path.name for path in copy.iterdir()) == FOLDERS
    for name in FOLDERS:
        assert files(copy / name) == files(checkout / name)


def test_take_snapshot_copies_the_work_tree_not_the_commit(take: Take, checkout: Path) -> None:
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


def test_take_snapshot_reuses_the_snapshot_of_the_same_code(take: Take, checkout: Path) -> None:
    first = take()
    before = (first / "xray_hpc" / "command_line.py").stat().st_ino
    assert take() == first
    assert (first / "xray_hpc" / "command_line.py").stat().st_ino == before
    (checkout / "xray_hpc" / "metrics.py").write_text("edited = 1\n")
    second = take()
    assert sorted(first.parent.iterdir()) == sorted([first, second])


def test_take_snapshot_of_a_snapshot_is_the_snapshot(take: Take) -> None:
    copy = take()
    assert take_of(copy, copy.parent) == copy


def test_take_snapshot_by_several_launches_at_once_makes_one_copy(tmp_path: Path) -> None:
    copies: list[Path] = []
    threads = [
        threading.Thread(target=lambda: copies.append(take_snapshot(tmp_path))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(copies) == 6
    assert list(tmp_path.iterdir()) == [copies[0]]


def test_take_snapshot_leaves_nothing_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def full(handle: int) -> None:
        synced.append(handle)
        if len(synced) == 20:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        take_snapshot(tmp_path / "code")
    assert list((tmp_path / "code").iterdir()) == []


def test_take_snapshot_of_an_installed_package_has_the_layout_of_a_checkout(
    installed: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site-packages"
    shutil.copytree(installed / "xray_hpc", site / "xray_hpc")
    shutil.copytree(installed / "hydra_plugins", site / "hydra_plugins")
    (site / "hydra_plugins" / "another_projects.py").touch()
    for name in ("conf", "jobs", "slurm_templates"):
        shutil.copytree(installed / name, site / "xray_hpc" / name)
    assert files(take_of(site, tmp_path / "code")) == files(installed)


def test_check_snapshot_notes_untracked_files(checkout: Path) -> None:
    (checkout / "xray_hpc" / "mine.py").touch()
    script = "from xray_hpc.launching.code_snapshot import check_snapshot; print(check_snapshot())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(checkout)},
        cwd=checkout.parent,
        capture_output=True,
        text=True,
    )
    assert "xray_hpc/mine.py" in done.stdout


# Prints from where the job and its training import their modules, and ends the training there.
WATCH = """
import os, sys

class Watch:
    def find_spec(self, name, path, target=None):
        if name in ("xray_hpc.worker.worker", "xray_hpc.training"):
            print("import from", path[0], flush=True)
        if name == "xray_hpc.training":
            os._exit(1)

sys.meta_path.insert(0, Watch())
"""


NEEDS_SAFE_PATH = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="check_snapshot refuses this"
)


@pytest.mark.parametrize("where", ["elsewhere", pytest.param("checkout", marks=NEEDS_SAFE_PATH)])
def test_a_job_and_its_training_import_only_from_the_snapshot(
    where: str, composer: Composer, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although this environment has the checkout installed, and the job may start in it."""
    plan = composer.plan([])
    (run,) = plan.runs
    create_run_folders(plan, ["x"], {run.name})
    paths: RunPaths = plan.sweep.run(run.name)
    copy = take_of(installed, tmp_path / "code")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(WATCH)
    monkeypatch.setenv("PYTHONPATH", str(site))
    done = subprocess.run(
        [sys.executable, "-u", str(copy / "jobs" / "run.py"), str(paths.folder)],
        env=os.environ | snapshot_environment(copy),
        cwd=REPOSITORY if where == "checkout" else tmp_path,
        capture_output=True,
        text=True,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("import from")]
    assert found == [f"import from {copy}/xray_hpc/worker", f"import from {copy}/xray_hpc"]


@needs_root
def test_snapshot_of_another_user_is_not_executed(tmp_path: Path) -> None:
    first = take_snapshot(tmp_path)
    os.chown(first, MALLORY.number, -1)
    second = take_snapshot(tmp_path)
    assert second.name.startswith(f"{first.name}-")
    assert (second / "jobs" / "run.py").is_file()
    assert take_snapshot(tmp_path) == second
    os.chown(second, MALLORY.number, -1)
    with pytest.raises(StorageError, match=str(second)):
        take_snapshot(tmp_path)


def test_snapshot_can_be_changed_by_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        snapshot = take_snapshot(tmp_path)
    finally:
        os.umask(before)
    assert all(path.stat().st_mode & 0o022 == 0 for path in (snapshot, *snapshot.rglob("*")))
