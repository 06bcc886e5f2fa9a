"""What a stage leaves when it is ended, killed or out of disk space."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hold import Hold
from xray_hpc.records.atomic_files import is_temporary_file

STAGE = [
    *(sys.executable, "-m", "xray_hpc.stage", "name=s"),
    *("data.demo_images=40", "data.image_size=32", "augment=none"),
]


def stage(folder: Path, largest_file: int | None = None) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    return subprocess.run(STAGE, cwd=folder, capture_output=True, text=True, preexec_fn=limit)


def temporary_files(folder: Path) -> list[str]:
    return [
        path.name
        for path in folder.rglob("*")
        if is_temporary_file(path) or ".drawing-" in path.name or path.suffix == ".partial"
    ]


# Where the stage is ended: in a temporary folder of the cache, and in a temporary file.
POINTS = [
    Hold(Path("hold"), "xray_hpc.stage", ".jpeg", "open", 5),
    Hold(Path("hold"), "xray_hpc.stage", "index.csv"),
]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.suffix)
def test_stage_removes_the_temporary_files_of_one_that_was_ended(
    tmp_path: Path, point: Hold, number: signal.Signals
) -> None:
    hold = Hold(tmp_path / "hold", point.program, point.suffix, point.event, point.count)
    hold.begin()
    with subprocess.Popen(STAGE, cwd=tmp_path, env=os.environ | hold.environment) as process:
        hold.wait_for(process)
        process.send_signal(number)
    hold.release()
    if number == signal.SIGTERM:
        assert process.returncode == 128 + number
        assert temporary_files(tmp_path) == []
    else:
        assert process.returncode == -number
        assert temporary_files(tmp_path) != []
    done = stage(tmp_path)
    assert done.returncode == 0, done.stderr
    assert temporary_files(tmp_path) == []


def test_stage_that_cannot_write_the_results_is_one_line(tmp_path: Path) -> None:
    assert stage(tmp_path).returncode == 0
    (index,) = tmp_path.glob("results/s/data/*/index.csv")
    before = index.read_bytes()
    done = stage(tmp_path, largest_file=1000)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("warning:")]
    assert line.startswith("error: ")
    assert "index.csv" in line
    assert "File too large" in line
    assert index.read_bytes() == before
    assert temporary_files(tmp_path) == []


def test_stage_with_a_folder_in_the_place_of_its_index_is_one_line(tmp_path: Path) -> None:
    assert stage(tmp_path).returncode == 0
    (index,) = tmp_path.glob("results/s/data/*/index.csv")
    index.unlink()
    index.mkdir()
    done = stage(tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "index.csv" in done.stderr.splitlines()[-1]
