"""The commands of a fresh clone, as far as they can be checked without installing anything."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

# Of this process, or of a make that it runs under; a make started here must not have them.
MAKES_OWN = ("CI", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")

REPOSITORY = Path(__file__).parents[1]

if shutil.which("make") is None:
    pytest.skip("make is not installed", allow_module_level=True)


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "-C", str(folder), "--no-print-directory", *arguments],
        capture_output=True,
        text=True,
        env=kept | environment,
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    return tmp_path


def test_make_alone_lists_the_commands(clone: Path) -> None:
    shown = make(clone).stdout
    listed = [line.split()[1] for line in shown.splitlines()]
    assert listed == ["demo", "test", "bench", "lint", "clean"]


def test_a_python_too_old_is_named_and_nothing_is_left(clone: Path) -> None:
    old = clone / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make(clone, "demo", f"PYTHON={old}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        f"error: {old} is no Python 3.10 or newer; give one: make PYTHON=/path/to/python3 ..."
    )
    assert not (clone / ".venv").exists()


def test_what_the_caller_has_active_does_not_leak_in(clone: Path) -> None:
    active = {"PYTHONPATH": "/leak", "PYTHONHOME": "/leak", "VIRTUAL_ENV": "/leak"}
    shown = make(clone, "--eval=show: ; @env", "show", **active).stdout.splitlines()
    assert not [line for line in shown if "/leak" in line]
    (path,) = (line for line in shown if line.startswith("PATH="))
    assert path.startswith(f"PATH={clone}/.venv/bin:")


def test_ci_runs_the_tests_with_slurm_required(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(REPOSITORY / ".ci" / "run", tmp_path / ".ci")
    (tmp_path / "Makefile").write_text("test:\n\t@echo CI is $$CI in $(CURDIR)\n")
    outside = {name: value for name, value in os.environ.items() if name not in MAKES_OWN}
    done = subprocess.run(
        ["bash", tmp_path / ".ci" / "run"], capture_output=True, text=True, env=outside, cwd="/"
    )
    assert done.stdout == f"CI is true in {tmp_path}\n"
