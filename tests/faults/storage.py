"""File systems that can be filled or made read-only without harm to anything else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A launch wants 20 MB of free space for each run.
SIZE_MB = 256


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """An ext4 of its own on ``folder``, in a file beside it."""
    image = _image(folder)
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZE_MB << 20)
    _do("mkfs.ext4", "-q", str(image))
    _do("mount", "-o", "loop", str(image), str(folder))
    try:
        yield folder
    finally:
        _do("umount", "--lazy", str(folder))


def fill(folder: Path) -> Path:
    """Leave no byte free; give the file that takes the room."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for block in (1 << 20, 1 << 10):
            try:
                while True:
                    file.write(bytes(block))
            except OSError:
                continue
    return ballast


def make_read_only(folder: Path) -> None:
    """As ext4 does by itself after an error of the disk, with files open for writing."""
    subprocess.run(["mount", "-o", "remount,abort", str(folder)], capture_output=True)
    probe = folder / "probe"
    try:
        probe.touch()
    except OSError:
        return
    raise AssertionError(f"{folder} can still be written")


def make_writable(folder: Path) -> None:
    """Mount it anew, once nobody has a file open there."""
    _do("umount", str(folder))
    _do("mount", "-o", "loop", str(_image(folder)), str(folder))


def _image(folder: Path) -> Path:
    return folder.with_suffix(".image")


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
