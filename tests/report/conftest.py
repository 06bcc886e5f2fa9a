"""Fixtures of sweeps to report on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.fake_runs import THREE_CLASSES, FakeRun, write_run
from tests.report.fake_sweeps import three_model_sweep
from xray_hpc.records.paths import RunPaths, SweepPaths


@pytest.fixture
def sweep(tmp_path: Path) -> SweepPaths:
    """Three finished runs, one per model."""
    return three_model_sweep(tmp_path / "results" / "models")


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    """A finished run."""
    return write_run(SweepPaths(tmp_path), "cnn")


@pytest.fixture
def three_class_run(tmp_path: Path) -> RunPaths:
    """A finished run with three classes."""
    return write_run(SweepPaths(tmp_path), "lung", FakeRun(classes=THREE_CLASSES))
