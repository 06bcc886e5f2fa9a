"""The make targets of a fresh clone, as far as they can be tested without installing anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

if shutil.which("make") is None:
    pytest.skip("make is not installed", allow_module_level=True)


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make without the variables of a make around this process."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "-C", str(folder), "--no-print-directory", *arguments],
        capture_output=True,
        text=True,
        env=outside | environment,
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the Makefile."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    return tmp_path


def test_make_without_a_target_lists_all_targets(clone: Path) -> None:
    phony = re.search(r"^\.PHONY: help (.+)$", (clone / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    lines = make(clone).stdout.splitlines()
    assert [line.split()[1] for line in lines] == phony[1].split()


def test_make_refuses_an_old_python_and_leaves_no_venv(clone: Path) -> None:
    python = clone / "old-python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    done = make(clone, "demo", f"PYTHON={python}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {python} is ")
    assert not (clone / ".venv").exists()


def test_make_ignores_an_active_python_environment(clone: Path) -> None:
    active = {"PYTHONPATH": "/leak", "PYTHONHOME": "/leak", "VIRTUAL_ENV": "/leak"}
    variables = make(clone, "--eval=show: ; @env", "show", **active).stdout.splitlines()
    assert not [variable for variable in variables if "/leak" in variable]
    (path,) = (variable for variable in variables if variable.startswith("PATH="))
    assert path.startswith(f"PATH={clone}/.venv/bin:")


def test_ci_run_sets_ci_and_makes_the_tests(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(REPOSITORY / ".ci" / "run", tmp_path / ".ci")
    (tmp_path / "Makefile").write_text("test:\n\t@echo CI is $$CI in $(CURDIR)\n")
    of_outer_make = ("CI", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    outside = {name: value for name, value in os.environ.items() if name not in of_outer_make}
    done = subprocess.run(
        ["bash", tmp_path / ".ci" / "run"], capture_output=True, text=True, env=outside, cwd="/"
    )
    assert done.stdout == f"CI is true in {tmp_path}\n"
