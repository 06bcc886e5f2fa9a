"""Only regular files are read, and nothing is waited for."""

from __future__ import annotations

import errno
import os
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from xray_hpc.regular_file import append_regular, open_regular, read_regular


def test_read_regular_returns_the_contents(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"film")
    assert read_regular(tmp_path / "x", most=4) == b"film"


def test_read_regular_returns_a_file_that_grows() -> None:
    """The size of a file in /proc is 0."""
    assert read_regular("/proc/self/status", most=2**20).startswith(b"Name:")
    with pytest.raises(OSError, match="larger than"):
        read_regular("/proc/self/status", most=100)


def test_read_regular_allocates_what_the_file_has(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(1000))
    tracemalloc.start()
    read_regular(tmp_path / "x", most=2**30)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_read_regular_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"film")
    (tmp_path / "link").symlink_to("x")
    assert read_regular(tmp_path / "link", most=4) == b"film"


def test_read_regular_refuses_a_larger_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"films")
    with pytest.raises(OSError, match="larger than") as caught:
        read_regular(tmp_path / "x", most=4)
    assert caught.value.filename == str(tmp_path / "x")


def test_read_regular_does_not_read_a_sparse_file(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(OSError, match="larger than"):
        read_regular(tmp_path / "x", most=2**20)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_link_loop(path: Path) -> None:
    path.symlink_to(path.name)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(path))


def make_device_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "number"),
    [
        (make_fifo, errno.EINVAL),
        (make_socket, errno.ENXIO),
        (make_device_link, errno.EINVAL),
        (make_link_loop, errno.ELOOP),
        (Path.mkdir, errno.EISDIR),
    ],
)
def test_open_regular_refuses_anything_else(
    tmp_path: Path, make: Callable[[Path], None], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    make(Path("x"))
    with pytest.raises(OSError, match="x") as caught:
        open_regular("x")
    assert (caught.value.errno, caught.value.filename) == (number, "x")


def test_append_regular_creates_and_extends_a_file(tmp_path: Path) -> None:
    for text in (b"a", b"b"):
        with append_regular(tmp_path / "log") as file:
            file.write(text)
    assert (tmp_path / "log").read_bytes() == b"ab"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("target")])
def test_append_regular_writes_to_nothing_else(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    (tmp_path / "target").write_bytes(b"mine")
    make(tmp_path / "log")
    with pytest.raises(OSError, match="log") as caught:
        append_regular(tmp_path / "log")
    assert caught.value.filename == str(tmp_path / "log")
    assert (tmp_path / "target").read_bytes() == b"mine"
