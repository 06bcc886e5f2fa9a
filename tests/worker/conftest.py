"""Fixtures for the worker: runs, jobs and the cluster around them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Composer
from tests.fake_slurm import FakeSlurm
from tests.worker.fake_job import FakeScontrol, JobStarter
from xray_hpc.launching.run_folders import create_run_folders
from xray_hpc.records.paths import RunPaths


@pytest.fixture
def runs(composer: Composer) -> list[RunPaths]:
    """Three runs of a sweep, just created."""
    plan = composer.plan(*[[f"seed={seed}"] for seed in range(3)])
    create_run_folders(plan, ["model=ft"], {run.name for run in plan.runs})
    return [plan.sweep.run(run.name) for run in plan.runs]


@pytest.fixture
def run(runs: list[RunPaths]) -> RunPaths:
    """The first of them."""
    return runs[0]


@pytest.fixture
def job(tmp_path: Path, run: RunPaths) -> Iterator[JobStarter]:
    """Start jobs; those that are still running are killed after the test."""
    starter = JobStarter(tmp_path / "fake_training", run)
    yield starter
    starter.stop()


@pytest.fixture
def scontrol(site: FakeSlurm, tmp_path: Path) -> FakeScontrol:
    """Put job 17 into the cluster."""
    return FakeScontrol(site, tmp_path)
