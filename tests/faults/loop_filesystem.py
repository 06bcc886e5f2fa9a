"""A file system in a file, which can be filled or made read-only without harm to anything else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A launch requires 20 MB of free space for each run.
SIZE_MB = 256


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """Mount a new ext4 on ``folder``; its image is beside the folder."""
    image = _image(folder)
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZE_MB << 20)
    _run("mkfs.ext4", "-q", str(image))
    _run("mount", "-o", "loop", str(image), str(folder))
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


def fill(folder: Path) -> Path:
    """Fill the file system to the last byte; return the file to delete in order to free it."""
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
    """Abort the file system, as ext4 does after a disk error, even with files open for writing."""
    subprocess.run(["mount", "-o", "remount,abort", str(folder)], capture_output=True)
    probe = folder / "probe"
    try:
        probe.touch()
    except OSError:
        return
    raise AssertionError(f"{folder} can still be written")


def make_writable(folder: Path) -> None:
    """Mount the file system again; no process may have a file open on it."""
    _run("umount", str(folder))
    _run("mount", "-o", "loop", str(_image(folder)), str(folder))


def _image(folder: Path) -> Path:
    return folder.with_suffix(".image")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
