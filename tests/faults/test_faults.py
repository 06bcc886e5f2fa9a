"""Some of the faults, each into one run; ``python -m tests.faults`` injects all, more often."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.injection import FaultResult, inject
from tests.faults.registry import FAULTS
from tests.slurm.client import skip_or_fail
from tests.slurm.cluster import install_hint, missing_programs

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
    "worker_killed_in_container",
    "preempted_in_container",
    "later_submission",
)
PARALLEL = 6


@pytest.fixture(scope="module")
def results() -> Mapping[str, FaultResult]:
    if os.geteuid() != 0:
        skip_or_fail("only root can start a cluster for each fault")
    if missing := missing_programs():
        skip_or_fail(f"not installed: {', '.join(missing)} ({install_hint()})")
    with ThreadPoolExecutor(PARALLEL) as pool:
        return dict(zip(QUICK, pool.map(lambda name: inject(FAULTS[name], 1), QUICK), strict=True))


@pytest.mark.parametrize("name", QUICK)
def test_fault_does_not_change_the_result(results: Mapping[str, FaultResult], name: str) -> None:
    assert results[name].problems == []
    assert results[name].epochs_repeated == 0
    assert results[name].epochs_lost <= 1
