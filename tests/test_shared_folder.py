"""What one user creates in a shared folder, another can use."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

import xray_hpc.shared_folder as shared_folder_module
from tests.other_user import ADA, BEN, CHEST, needs_root, shared_folder
from xray_hpc.records.atomic_files import write_text
from xray_hpc.shared_folder import PRIVATE, create_file, make_folder

CREATE = """
make_folder(Path(sys.argv[1], "a", "b"))
make_folder(Path(sys.argv[1], "a", "c"))
create_file(Path(sys.argv[1], "a", "b", "x"))
write_text(Path(sys.argv[1], "a", "c", "y"), "old")
"""
IMPORTS = """
from pathlib import Path
from xray_hpc.records.atomic_files import write_text
from xray_hpc.shared_folder import create_file, make_folder
"""


def access(path: Path) -> tuple[int, str]:
    status = path.stat()
    return status.st_gid, stat.filemode(status.st_mode)


@needs_root
@pytest.mark.parametrize("folder_mode", [0o2775, 0o2770, 0o775])
def test_group_of_a_shared_folder_can_use_what_a_member_creates(folder_mode: int) -> None:
    with shared_folder(folder_mode) as folder:
        assert ADA.run(IMPORTS, CREATE, folder).stderr == ""
        assert access(folder / "a" / "b") == (CHEST, "drwxrwsr-x")
        assert access(folder / "a" / "b" / "x") == (CHEST, "-rw-rw-r--")
        assert access(folder / "a" / "c" / "y") == (CHEST, "-rw-rw-r--")
        assert BEN.run(IMPORTS, CREATE.replace('"old"', '"new"'), folder).stderr == ""
        assert (folder / "a" / "c" / "y").read_text() == "new"
        assert (folder / "a" / "c" / "y").stat().st_uid == BEN.number


@needs_root
@pytest.mark.parametrize("folder_mode", [0o2755, 0o777, 0o1777])
def test_elsewhere_the_umask_decides(folder_mode: int) -> None:
    with shared_folder(folder_mode) as folder:
        assert ADA.run(IMPORTS, CREATE, folder).stderr == ""
        assert access(folder / "a" / "b")[1].startswith("drwxr-")
        assert access(folder / "a" / "b" / "x")[1] == "-rw-r--r--"


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A private file or folder, to which a member of the group links in the place of a new one."""
    target = tmp_path / "private"
    request.param(target, 0o600)
    target.chmod(0o600)

    def replace_new_one(folder: Path) -> bool:
        (created,) = folder.iterdir()
        created.rename(tmp_path / "created")
        created.symlink_to(target)
        return True

    (tmp_path / "group").mkdir()
    monkeypatch.setattr(shared_folder_module, "is_shared", replace_new_one)
    return target


@pytest.mark.parametrize("target", [Path.touch], indirect=True)
def test_link_in_the_place_of_a_new_file_is_not_shared(target: Path, tmp_path: Path) -> None:
    create_file(tmp_path / "group" / "x")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "created").stat().st_mode) & 0o060 == 0o060


@pytest.mark.parametrize("target", [Path.mkdir], indirect=True)
def test_link_in_the_place_of_a_new_folder_is_not_shared(target: Path, tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        make_folder(tmp_path / "group" / "x")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize("target", [Path.touch], indirect=True)
def test_secrets_are_written_to_the_private_file_only(target: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "group" / "private.yaml", "KEY=1", PRIVATE)
    assert target.read_text() == ""
    assert (tmp_path / "created").read_text() == "KEY=1"
    assert stat.S_IMODE((tmp_path / "created").stat().st_mode) == 0o600


def test_make_folder_accepts_a_folder_and_refuses_a_file(tmp_path: Path) -> None:
    make_folder(tmp_path / "a")
    make_folder(tmp_path / "a")
    (tmp_path / "x").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "x")
    with pytest.raises(OSError, match="x"):
        make_folder(tmp_path / "x" / "y")


def test_create_file_leaves_an_existing_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("content")
    create_file(tmp_path / "x")
    assert (tmp_path / "x").read_text() == "content"
    assert os.listdir(tmp_path) == ["x"]
