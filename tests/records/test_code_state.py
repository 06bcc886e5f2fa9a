"""Test the record of a sweep's code."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from xray_hpc.records.code_state import (
    CodeState,
    current_code_state,
    installed_packages,
    write_code_state,
)

REPOSITORY = Path(__file__).parents[2]
STATE = CodeState(
    commit="0123456789abcdef0123456789abcdef01234567",
    changes="89abcdef",
    untracked=[],
    packages={"numpy": "2.2.0"},
    python="3.11.7",
    host="login1",
    user="ada",
    diff=b"--- a/x\n",
)
ReadState = Callable[[], dict[str, Any]]


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a small checkout with the modules that read its state."""
    folder = tmp_path / "checkout"
    for name in ("config", "records"):
        shutil.copytree(REPOSITORY / "xray_hpc" / name, folder / "xray_hpc" / name)
    for file in (REPOSITORY / "xray_hpc").glob("*.py"):
        shutil.copy(file, folder / "xray_hpc")
    (folder / ".gitignore").write_text("__pycache__\n")
    git(tmp_path, "init", "-q", str(folder))
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "all")
    return folder


@pytest.fixture
def read_state(checkout: Path) -> ReadState:
    """Return a function that reads the state of the checkout in another process."""
    script = (
        "import dataclasses, json, sys; from xray_hpc.records.code_state import *\n"
        "state = current_code_state()\n"
        "values = dataclasses.asdict(state) | {'diff': state.diff.decode(errors='replace')}\n"
        "git = git_state() and vars(git_state())\n"
        "print(json.dumps(values | {'name': state.name, 'git': git}))"
    )

    def read_state() -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONPATH": str(checkout)},
            cwd=checkout.parent,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        values: dict[str, Any] = json.loads(done.stdout)
        return values

    return read_state


def test_clean_checkout_is_named_by_its_commit(checkout: Path, read_state: ReadState) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    state = read_state()
    assert (state["commit"], state["changes"], state["diff"]) == (commit, None, "")
    assert state["name"] == commit[:12]
    assert state["git"] == {"commit": commit, "dirty": False}


def test_reading_the_code_state_writes_nothing(checkout: Path, read_state: ReadState) -> None:
    (checkout / "xray_hpc" / "__init__.py").touch()  # git would note in its index that it is clean
    index = checkout / ".git" / "index"
    before = index.read_bytes()
    read_state()
    assert index.read_bytes() == before


def test_recorded_diff_applies_to_the_commit(
    checkout: Path, read_state: ReadState, tmp_path: Path
) -> None:
    (checkout / "xray_hpc" / "metrics.py").write_bytes(b"\x00\xff binary now")
    (checkout / "xray_hpc" / "new.py").write_text("x = 1\n")
    git(checkout, "add", "xray_hpc/new.py")
    git(checkout, "config", "diff.noprefix", "true")
    git(checkout, "config", "color.ui", "always")
    state = read_state()
    assert state["name"] == f"{state['commit'][:12]}-{state['changes']}"
    assert state["git"] == {"commit": state["commit"], "dirty": True}
    (tmp_path / "diff").write_text(state["diff"])
    git(tmp_path, "clone", "-q", str(checkout), "again")
    git(tmp_path / "again", "apply", str(tmp_path / "diff"))
    for name in ("metrics.py", "new.py"):
        file = Path("xray_hpc", name)
        assert (tmp_path / "again" / file).read_bytes() == (checkout / file).read_bytes()


def test_different_changes_have_different_names(checkout: Path, read_state: ReadState) -> None:
    names = set()
    for text in ("x = 1\n", "x = 2\n"):
        (checkout / "xray_hpc" / "metrics.py").write_text(text)
        names.add(read_state()["name"])
    assert len(names) == 2


def test_huge_diff_is_truncated(checkout: Path, read_state: ReadState) -> None:
    (checkout / "xray_hpc" / "command_line.py").write_text("x = 1  # and so on\n" * 100_000)
    diff = read_state()["diff"]
    last = diff.splitlines()[-1]
    assert last.startswith("... truncated: the whole diff has 20")
    assert len(diff) == 1_000_000 + len(f"\n{last}\n")


def test_untracked_code_files_are_listed(checkout: Path, read_state: ReadState) -> None:
    (checkout / "xray_hpc" / "mine.py").touch()
    (checkout / "notes.txt").touch()
    assert read_state()["untracked"] == ["xray_hpc/mine.py"]
    assert read_state()["changes"] is None


def test_package_inside_another_checkout_counts_as_installed(
    checkout: Path, read_state: ReadState
) -> None:
    shutil.rmtree(checkout / ".git")
    git(checkout.parent, "init", "-q", ".")
    state = read_state()
    assert (state["commit"], state["changes"], state["name"]) == (None, None, "installed")
    assert state["git"] is None


def test_without_git_the_package_counts_as_installed(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    state = current_code_state()
    assert (state.commit, state.diff) == (None, b"")


def test_installed_packages_have_their_versions() -> None:
    packages = installed_packages()
    for name in ("numpy", "hydra-core", "submitit", "pytest"):
        assert packages[name] == metadata.version(name)


def test_installed_packages_imports_none_of_them() -> None:
    script = (
        "import sys; from xray_hpc.records.code_state import installed_packages\n"
        "before = set(sys.modules); assert installed_packages()['tensorflow']\n"
        "print({'numpy', 'tensorflow', 'keras'} & (set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "set()\n"


def test_write_code_state_writes_the_diff(tmp_path: Path) -> None:
    assert write_code_state(tmp_path, STATE) == "0123456789ab-89abcdef"
    values = json.loads((tmp_path / "0123456789ab-89abcdef.json").read_text())
    assert values["packages"] == {"numpy": "2.2.0"}
    assert "diff" not in values
    assert (tmp_path / "0123456789ab-89abcdef.diff").read_bytes() == b"--- a/x\n"


def test_write_code_state_without_changes_writes_no_diff(tmp_path: Path) -> None:
    name = write_code_state(tmp_path, dataclasses.replace(STATE, changes=None, diff=b""))
    assert [file.name for file in tmp_path.iterdir()] == [f"{name}.json"]


def test_equal_code_states_are_written_once(tmp_path: Path) -> None:
    assert write_code_state(tmp_path, STATE) == write_code_state(tmp_path, STATE)
    assert len(list(tmp_path.iterdir())) == 2


def test_code_state_with_other_packages_gets_a_number(tmp_path: Path) -> None:
    upgraded = dataclasses.replace(STATE, packages={"numpy": "2.3.0"})
    names = [write_code_state(tmp_path, state) for state in (STATE, upgraded, STATE, upgraded)]
    assert names == ["0123456789ab-89abcdef", "0123456789ab-89abcdef_2"] * 2
