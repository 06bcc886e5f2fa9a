"""The wheel built from this checkout works in any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the wheel as pip would install it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_installed_package_launches_from_any_folder(unpacked: Path, tmp_path: Path) -> None:
    script = (
        "import sys, runpy, xray_hpc; print(xray_hpc.__file__)\n"
        "sys.argv = ['launch', '-m', 'model=cnn,tl,ft', 'cluster=none']\n"
        "runpy.run_module('xray_hpc.launch', run_name='__main__')"
    )
    environment = os.environ | {"PYTHONPATH": str(unpacked)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(unpacked))
    assert len(list(tmp_path.glob("results/*/runs/*/config.yaml"))) == 3


def test_wheel_contains_jobs_and_templates(unpacked: Path) -> None:
    shipped = {
        path.name
        for folder in ("jobs", "slurm_templates")
        for path in (unpacked / "xray_hpc" / folder).iterdir()
    }
    assert shipped >= {"run.py", "stage.py", "collect.py", "train.sbatch", "sweep.sbatch"}


def test_wheel_contains_small_demo_weights(unpacked: Path) -> None:
    weights = unpacked / "xray_hpc" / "synthetic" / "weights" / "demo.weights.h5"
    assert 0 < weights.stat().st_size <= 3_000_000
