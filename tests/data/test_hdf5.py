from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from xray_hpc.data.array_store import new_file


def test_a_file_reads_back(tmp_path: Path) -> None:
    with new_file(tmp_path / "x.h5") as (file, check):
        file["numbers"] = np.arange(10)
        check()
    with h5py.File(tmp_path / "x.h5", "r") as file:
        assert file["numbers"][:].tolist() == list(range(10))


def test_a_large_array_begins_with_a_page(tmp_path: Path) -> None:
    """Where a mapping of it does, and where TensorFlow takes it as it is."""
    with new_file(tmp_path / "x.h5") as (file, _):
        file["few"] = np.arange(3)
        file["many"] = np.arange(1000)
        assert file["many"].id.get_offset() % 4096 == 0


def write_numbers(path: Path, *, ask: bool) -> None:
    with new_file(path) as (file, check):
        file["numbers"] = np.arange(1_000_000)
        if ask:
            check()
            pytest.fail("check() was silent")


@pytest.mark.parametrize("ask", [True, False])
def test_a_failed_write_is_raised_when_asked_or_at_the_end(
    tmp_path: Path, largest_file: Callable[[int], None], ask: bool
) -> None:
    largest_file(100_000)
    with pytest.raises(OSError, match="File too large") as caught:
        write_numbers(tmp_path / "x.h5", ask=ask)
    assert caught.value.errno == errno.EFBIG


def test_an_error_in_the_block_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "x.h5"):
        raise ZeroDivisionError
