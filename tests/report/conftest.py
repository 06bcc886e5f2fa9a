"""Fixtures of sweeps to report on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.fake_sweeps import three_model_sweep
from xray_hpc.records.paths import SweepPaths


@pytest.fixture
def sweep(tmp_path: Path) -> SweepPaths:
    """Three finished runs, one per model."""
    return three_model_sweep(tmp_path / "results" / "models")
