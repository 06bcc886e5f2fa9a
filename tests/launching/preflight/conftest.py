from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Composer
from tests.fake_slurm import FakeSlurm
from xray_hpc.config.cluster_config import ClusterConfig, CpuJobConfig
from xray_hpc.launching.preflight import checks

Check = Callable[..., list[str]]
SMALL = CpuJobConfig(mem="4G")


@pytest.fixture
def check(site: FakeSlurm, composer: Composer) -> Check:
    """Check a sweep of one run on a cluster with these keys; notes on its folders are left out."""
    plan = composer.plan([])

    def check(**keys: Any) -> list[str]:
        cluster = ClusterConfig("slurm", **{"cpu_job": SMALL, **keys})
        settings = dataclasses.replace(plan.settings, cluster=cluster)
        notes = checks.check_plan(dataclasses.replace(plan, settings=settings), 1)
        return [note for note in notes if not note.startswith(("results", "cache"))]

    return check
