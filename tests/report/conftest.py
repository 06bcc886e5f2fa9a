"""Sweeps to report on, written by synthetic.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.synthetic import three_models
from xray_hpc.records.paths import SweepPaths


@pytest.fixture
def sweep(tmp_path: Path) -> SweepPaths:
    """Three finished runs, one of each model."""
    return three_models(tmp_path / "results" / "models")
