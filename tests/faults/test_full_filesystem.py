"""Commands whose results are on a real file system without space; those of a cluster are faults."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from xray_hpc.records.atomic_files import is_temporary_file

Mount = Callable[[int], Path]
SMALL = ("data.demo_images=60", "data.image_size=32", "name=s")


@contextmanager
def _memory(folder: Path, kilobytes: int) -> Iterator[Path]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this container may not mount file systems")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Return a function that mounts a file system of so many KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    with ExitStack() as stack:
        yield lambda size: stack.enter_context(_memory(tmp_path / "results", size))


def run(verb: str, results: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"xray_hpc.{verb}", f"results={results}", *SMALL, *words]
    cache = f"cache={results.parent / 'cache'}"
    return subprocess.run([*command, cache], capture_output=True, text=True, cwd=results.parent)


def resize(results: Path, kilobytes: int) -> None:
    option = f"remount,size={kilobytes}k"
    subprocess.run(["mount", "-o", option, str(results)], check=True)


@pytest.mark.parametrize("kilobytes", [4, 8, 16])
def test_launch_on_a_full_disk_is_one_line_and_leaves_nothing(mount: Mount, kilobytes: int) -> None:
    results = mount(kilobytes)
    refused = run("launch", results, "cluster=none", "model=cnn")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "No space left on device" in refused.stderr
    assert "make room" in refused.stderr
    assert not (results / "s").exists()
    resize(results, 1024)
    assert run("launch", results, "cluster=none", "model=cnn").returncode == 0


def test_stage_on_a_full_disk_is_one_line_and_writes_no_part_of_a_file(mount: Mount) -> None:
    results = mount(40)
    refused = run("stage", results)
    assert refused.returncode == 2
    errors = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "No space left on device" in errors[0]
    assert "make room" in errors[0]
    assert "Traceback" not in refused.stderr
    assert not [path for path in results.rglob(".*") if is_temporary_file(path)]
    resize(results, 10 << 10)
    assert run("stage", results).returncode == 0
