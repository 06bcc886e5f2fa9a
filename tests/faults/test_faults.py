"""Some of the faults, each done once; `python -m tests.faults` does all of them, and more often."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.faults import FAULTS
from tests.faults.proving import Outcome, prove
from tests.slurm.client import without
from tests.slurm.cluster import installing, missing_programs

QUICK = (
    "training_killed",
    "worker_killed",
    "cancelled",
    "requeued",
    "preempted",
    "run_raises",
    "out_of_memory",
    "node_lost",
    "controller_restarts",
    "disk_full",
    "launcher_killed",
)
TOGETHER = 6


@pytest.fixture(scope="module")
def outcomes() -> Mapping[str, Outcome]:
    if os.geteuid() != 0:
        without("only root can start a cluster for each fault")
    if missing := missing_programs():
        without(f"not installed: {', '.join(missing)} ({installing()})")
    with ThreadPoolExecutor(TOGETHER) as pool:
        return dict(zip(QUICK, pool.map(lambda name: prove(FAULTS[name], 1), QUICK), strict=True))


@pytest.mark.parametrize("name", QUICK)
def test_a_run_comes_through(outcomes: Mapping[str, Outcome], name: str) -> None:
    assert outcomes[name].wrong == []
    assert outcomes[name].twice == 0
    assert outcomes[name].lost <= 1
