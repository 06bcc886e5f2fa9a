from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# Under --import-mode=importlib a test folder's own modules are not importable by themselves.
sys.path.insert(0, str(Path(__file__).parent))

from answering import Site
from making import Programs


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Slurm's commands, none of which is there yet."""
    return Programs(tmp_path / "bin", monkeypatch)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A Slurm cluster to ask, in the place of any there is."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in list(os.environ):
        if name.startswith(("SLURM_", "SBATCH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return Site(programs)
