"""What one user creates in a shared folder, another can use."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.other_user import ADA, BEN, CHEST, needs_root, shared_folder
from xray_hpc.shared_folder import create_file, make_folder

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
