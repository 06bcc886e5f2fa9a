from __future__ import annotations

import errno
from pathlib import Path

import pytest

from xray_hpc.data.cache_errors import check_free_space, writing_to_cache
from xray_hpc.errors import UserError


def test_writing_to_cache_creates_the_folder(tmp_path: Path) -> None:
    with writing_to_cache(tmp_path / "a" / "b", "the decoded images", 1):
        assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_writing_to_cache_reports_a_full_disk_or_quota(tmp_path: Path, number: int) -> None:
    message = r"no space left in .* for the decoded images, which need 3 MiB; make room"
    with (
        pytest.raises(UserError, match=message),
        writing_to_cache(tmp_path, "the decoded images", 3 * 2**20),
    ):
        raise OSError(number, "full")


def test_writing_to_cache_reports_the_file_of_an_io_error(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"cannot write the demo images: /x/y: Input/output error"),
        writing_to_cache(tmp_path, "the demo images", 1),
    ):
        raise OSError(errno.EIO, "Input/output error", "/x/y")


def test_writing_to_cache_reports_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"cannot write the decoded images: .*file.*Not a directory"),
        writing_to_cache(tmp_path / "file" / "cache", "the decoded images", 1),
    ):
        pytest.fail("the block ran")


def test_check_free_space_raises_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"need 1,099,511,627,776 MiB; .* are free"):
        check_free_space(tmp_path, "the decoded images", 2**60)
    check_free_space(tmp_path, "the decoded images", 1)
