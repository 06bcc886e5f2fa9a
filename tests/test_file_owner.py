"""Whom a file must come from to be trusted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.other_user import ADA, BEN, CHEST, MALLORY, User, needs_root, shared_folder
from xray_hpc.file_owner import is_trusted, owner_name, uid_name

PRINT_TRUST = "print(is_trusted(sys.argv[1]))"
IMPORT = "from xray_hpc.file_owner import is_trusted"


def test_own_file_is_trusted_wherever_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    (tmp_path / "x").touch(0o664)
    assert is_trusted(tmp_path / "x")
    (tmp_path / "x").chmod(0o666)
    assert not is_trusted(tmp_path / "x")


def trusts(user: User, path: Path) -> bool:
    done = user.run(IMPORT, PRINT_TRUST, path)
    assert done.stderr == ""
    return done.stdout == "True\n"


@needs_root
@pytest.mark.parametrize(
    ("owner", "folder_mode", "file_mode", "trusted"),
    [
        (BEN, 0o755, 0o644, True),
        (BEN, 0o755, 0o646, False),
        (User(0), 0o755, 0o644, True),
        (User(0), 0o755, 0o666, False),
        (User(0), 0o1777, 0o644, True),
        (ADA, 0o755, 0o644, False),  # she may change it at any time
        (ADA, 0o2775, 0o644, True),  # the group shares this folder
        (ADA, 0o2770, 0o664, True),
        (ADA, 0o2777, 0o644, False),  # anybody may put a file there
        (ADA, 0o1777, 0o644, False),
        (ADA, 0o2775, 0o646, False),  # anybody may change this file
        (MALLORY, 0o1777, 0o644, False),
    ],
)
def test_file_of_another_user_is_trusted_only_in_a_shared_folder(
    owner: User, folder_mode: int, file_mode: int, trusted: bool
) -> None:
    with shared_folder(folder_mode) as folder:
        (folder / "x").touch()
        owner.own(folder / "x", CHEST, file_mode)
        assert trusts(BEN, folder / "x") == trusted


@needs_root
def test_who_is_no_member_of_the_group_does_not_trust_it() -> None:
    with shared_folder(0o2775) as folder:
        (folder / "x").touch()
        ADA.own(folder / "x", CHEST, 0o644)
        assert not trusts(MALLORY, folder / "x")


@needs_root
def test_folder_of_a_system_group_is_not_shared() -> None:
    """Many clusters have all users in the group ``users``."""
    with shared_folder() as folder:
        os.chown(folder, ADA.number, 100)
        folder.chmod(0o2775)
        (folder / "x").touch()
        ADA.own(folder / "x", 100, 0o644)
        assert not trusts(User(BEN.number, groups=(CHEST, 100)), folder / "x")


@needs_root
def test_link_is_as_trusted_as_its_target() -> None:
    with shared_folder(0o2775) as shared, shared_folder(0o755) as other:
        (other / "x").touch()
        ADA.own(other / "x", CHEST, 0o644)
        (shared / "link").symlink_to(other / "x")
        assert not trusts(BEN, shared / "link")


def test_owner_name_of_an_unknown_user_is_its_number(tmp_path: Path) -> None:
    assert owner_name(tmp_path) == uid_name(os.geteuid())
    assert uid_name(2_000_000_123) == "2000000123"


@needs_root
@pytest.mark.parametrize("mode", [0o700, 0o711, 0o500])
def test_denying_owner_is_that_of_the_nearest_closed_folder(mode: int) -> None:
    with shared_folder(0o755) as folder:
        closed = folder / "closed"
        closed.mkdir()
        ADA.own(closed, ADA.number, mode)
        code = "print(denying_owner(sys.argv[1]))"
        path = closed / "deep" / "file"
        done = BEN.run("from xray_hpc.file_owner import denying_owner", code, path)
        assert (done.stdout, done.stderr) == (f"{ADA.number}\n", "")


@needs_root
@pytest.mark.parametrize(("user", "fix"), [(ADA, "change its perm"), (BEN, f"{ADA.number}")])
def test_advice_names_the_owner_of_a_closed_file_unless_it_is_this_user(
    user: User, fix: str
) -> None:
    with shared_folder(0o755) as folder:
        (folder / "x").touch()
        ADA.own(folder / "x", ADA.number, 0o000)
        code = """
try:
    open(sys.argv[1])
except OSError as error:
    print(advice(error))
"""
        done = user.run("from xray_hpc.system_errors import advice", code, folder / "x")
        assert fix in done.stdout
        assert done.stderr == ""
