from __future__ import annotations

import errno
from pathlib import Path

import pytest

from xray_hpc.data.cache_folder import check_free_space, format_bytes, writing_to_cache
from xray_hpc.errors import UserError


def test_the_cache_folder_is_made(tmp_path: Path) -> None:
    with writing_to_cache(tmp_path / "a" / "b", "the packed images", 1):
        assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_or_quota_names_the_cache_and_the_space(tmp_path: Path, number: int) -> None:
    message = r"no space left in .* for the packed images, which need 3 MiB; make room"
    with (
        pytest.raises(UserError, match=message),
        writing_to_cache(tmp_path, "the packed images", 3 * 2**20),
    ):
        raise OSError(number, "full")


def test_another_failure_of_the_disk_names_the_file(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"cannot write the demo images: /x/y: Input/output error"),
        writing_to_cache(tmp_path, "the demo images", 1),
    ):
        raise OSError(errno.EIO, "Input/output error", "/x/y")


def test_a_cache_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"cannot write the packed images: .*file.*Not a directory"),
        writing_to_cache(tmp_path / "file" / "cache", "the packed images", 1),
    ):
        pytest.fail("the block ran")


def test_too_little_room_is_said_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"need 1,099,511,627,776 MiB; .* are free"):
        check_free_space(tmp_path, "the packed images", 2**60)
    check_free_space(tmp_path, "the packed images", 1)


@pytest.mark.parametrize(("count", "text"), [(2048, "2 KiB"), (881 * 2**20, "881 MiB")])
def test_sizes_are_for_people(count: int, text: str) -> None:
    assert format_bytes(count) == text
