"""Two users of one lock: neither stops the other, dead or alive."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.other_user import ADA, BEN, needs_root, shared_folder
from tests.without_flock import SITECUSTOMIZE
from xray_hpc.errors import StorageError
from xray_hpc.records.file_lock import file_lock

pytestmark = needs_root

NFS_SITECUSTOMIZE = """
import errno, fcntl, os

kernel_flock = fcntl.flock

def flock(handle, kind):
    writable = fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    if kind & fcntl.LOCK_EX and not writable:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    kernel_flock(handle, kind)

fcntl.flock = flock
"""
"""NFS turns an ``flock`` into a record lock, which needs a file that is open for writing."""

IMPORTS = """
from pathlib import Path
from xray_hpc.errors import LockedError
from xray_hpc.records import file_lock as module
from xray_hpc.records.file_lock import file_lock
"""
HOLD = """
with file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
TRY = """
try:
    with file_lock(Path(sys.argv[1]), wait=False):
        print("acquired")
except (LockedError, PermissionError) as error:
    print(type(error).__name__)
"""
WAIT = """
module.POLL_SECONDS = 0.01
try:
    with file_lock(Path(sys.argv[1]), message="waiting"):
        print("acquired")
except PermissionError:
    print("free")
"""


@pytest.fixture
def site() -> Iterator[Path]:
    """A folder for a ``sitecustomize``, which all users can read."""
    with shared_folder(0o755) as folder:
        yield folder


def hold(lock: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Let Ada hold the lock until she is killed."""
    holder = ADA.start(IMPORTS, HOLD, lock, environment=environment)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def kill(holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.communicate()


# How Ada's folder and lock are, which file system it is on, and what Ben gets once she is dead.
CASES = {
    "shared": (0o2775, 0o664, "", "acquired"),
    "made_by_an_older_version": (0o2775, 0o644, "", "acquired"),
    "folder_of_ada": (0o755, 0o644, "", "acquired"),
    "shared_on_nfs": (0o2775, 0o664, NFS_SITECUSTOMIZE, "acquired"),
    "folder_of_ada_on_nfs": (0o755, 0o644, NFS_SITECUSTOMIZE, "PermissionError"),
    "shared_without_flock": (0o2775, 0o664, SITECUSTOMIZE, "acquired"),
    "folder_of_ada_without_flock": (0o755, 0o644, SITECUSTOMIZE, "PermissionError"),
}


@pytest.mark.parametrize("case", CASES)
def test_second_user_finds_the_lock_held_until_its_holder_is_dead(case: str, site: Path) -> None:
    folder_mode, lock_mode, code, free = CASES[case]
    (site / "sitecustomize.py").write_text(code)
    environment = {"PYTHONPATH": str(site)}
    with shared_folder(folder_mode) as folder:
        lock = folder / ".lock"
        holder = hold(lock, environment)
        lock.chmod(lock_mode)
        assert BEN.run(IMPORTS, TRY, lock, environment=environment).stdout == "LockedError\n"
        kill(holder)
        if code == SITECUSTOMIZE:  # only the heartbeats of another user's process tell
            (lease,) = folder.glob(".lock.lease/*")
            lease.unlink()
        tried = BEN.run(IMPORTS, TRY, lock, environment=environment)
        assert tried.stdout == f"{free}\n", tried.stderr


@pytest.mark.parametrize(
    ("code", "result"), [("", "acquired"), (NFS_SITECUSTOMIZE, "free"), (SITECUSTOMIZE, "free")]
)
def test_second_user_waits_for_a_lock_that_it_can_only_read(
    code: str, result: str, site: Path
) -> None:
    (site / "sitecustomize.py").write_text(code)
    environment = {"PYTHONPATH": str(site)}
    with shared_folder(0o755) as folder:
        holder = hold(folder / ".lock", environment)
        waiting = BEN.start(IMPORTS, WAIT, folder / ".lock", environment=environment)
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == f"waiting (the lock is {ADA.number}'s)\n"
        holder.communicate()  # closes its stdin
        out, err = waiting.communicate()
        assert (out, err) == (f"{result}\n", "")


def test_lock_of_a_folder_that_a_user_may_not_write_is_denied() -> None:
    with shared_folder(0o755) as folder:
        assert BEN.run(IMPORTS, TRY, folder / ".lock").stdout == "PermissionError\n"
        assert list(folder.iterdir()) == []


def test_lock_follows_no_link_of_another_user(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("content")
    (tmp_path / ".lock").symlink_to("victim")
    with (
        pytest.raises(StorageError, match=r"\.lock is not a regular file"),
        file_lock(tmp_path / ".lock"),
    ):
        pass
    assert (tmp_path / "victim").read_text() == "content"
