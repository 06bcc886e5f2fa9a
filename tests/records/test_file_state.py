"""A file that has changed since its state was recorded is noticed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import xray_hpc.records.file_state as module
from xray_hpc.records.file_state import MISSING, file_state, find_change

SECOND = 10**9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "x.csv"
    path.write_bytes(b"epoch,val_auc\n0,0.5\n")
    return path


def flip(path: Path) -> None:
    """Change a bit, and leave size and time as they are, as a failing disk does."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def changes(path: Path, state: str) -> tuple[str | None, str | None]:
    return (
        find_change(str(path), state, whole=False),
        find_change(str(path), state, whole=True),
    )


def test_unchanged_file_has_no_change(path: Path) -> None:
    assert changes(path, file_state(path)) == (None, None)


def test_file_of_another_size_has_changed(path: Path) -> None:
    state = file_state(path)
    path.write_bytes(b"epoch")
    for change in changes(path, state):
        assert change is not None
        assert [word for word in change.split() if word.isdigit()] == ["5", "20"]


def test_missing_file(path: Path) -> None:
    state = file_state(path)
    path.unlink()
    assert changes(path, state) == (MISSING, MISSING)


def test_file_of_another_time_is_compared(path: Path) -> None:
    state = file_state(path)
    os.utime(path, ns=(0, int(state.split()[1]) + SECOND))
    assert find_change(str(path), state, whole=False) is None
    flip(path)
    assert None not in changes(path, state)


def test_flipped_bit_is_seen_at_once_after_a_whole_comparison(path: Path) -> None:
    state = file_state(path)
    flip(path)
    assert find_change(str(path), state, whole=False) is None
    assert find_change(str(path), state, whole=True) is not None
    assert find_change(str(path), state, whole=False) is not None


def test_copy_needs_no_second_comparison(path: Path) -> None:
    state = file_state(path)
    os.utime(path, ns=(0, int(state.split()[1]) + SECOND))
    assert find_change(str(path), state, whole=True) is None
    assert path.stat().st_mtime_ns == int(state.split()[1])


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_link_is_followed_and_the_time_of_its_target_is_kept(
    tmp_path: Path, path: Path, linked: str
) -> None:
    state = file_state(path)
    later = int(state.split()[1]) + SECOND
    os.utime(path, ns=(0, later))
    (tmp_path / "file").symlink_to(path)
    (tmp_path / "folder").symlink_to(tmp_path)
    link = tmp_path / "file" if linked == "file" else tmp_path / "folder" / path.name
    assert changes(link, state) == (None, None)
    assert path.stat().st_mtime_ns == later
    os.utime(path, ns=(0, int(state.split()[1])))
    flip(path)
    before = path.stat().st_mtime_ns
    assert find_change(str(link), state, whole=True) is not None
    assert path.stat().st_mtime_ns == before


def test_unchanged_file_of_another_time_is_read_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, reads = file_state(path), list[str]()

    def count(file: str) -> str:
        reads.append(file)
        return file_state(file)

    monkeypatch.setattr(module, "file_state", count)
    os.utime(path, ns=(0, 0))
    for _ in range(3):
        assert find_change(str(path), state, whole=False) is None
    assert reads == [str(path)]
    flip(path)
    os.utime(path, ns=(0, SECOND))
    for _ in range(2):
        assert find_change(str(path), state, whole=False) is not None
    assert len(reads) == 2


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink(path, path)])
@pytest.mark.parametrize("recorded", [True, False])
def test_what_is_no_regular_file_raises(path: Path, make: object, recorded: bool) -> None:
    state = file_state(path) if recorded else None
    path.unlink()
    assert callable(make)
    make(path)
    with pytest.raises(OSError, match=r"x\.csv"):
        find_change(str(path), state, whole=False)
