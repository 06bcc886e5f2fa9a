"""Sweeps to report on, written by synthetic.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Under --import-mode=importlib a test folder's own modules are not importable by themselves.
sys.path.insert(0, str(Path(__file__).parent))

from synthetic import three_models

from xray_hpc.runs.paths import SweepPaths


@pytest.fixture
def sweep(tmp_path: Path) -> SweepPaths:
    """Three finished runs, one of each model."""
    return three_models(tmp_path / "results" / "models")
