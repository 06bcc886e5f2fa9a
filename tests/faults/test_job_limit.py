"""A sweep with more runs than the user may have jobs, on a cluster that enforces the limit."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.faults.fault_sweep import FaultSweep, throwaway_cluster
from tests.slurm.client import skip_or_fail
from tests.slurm.cluster import install_hint, missing_programs
from xray_hpc.records import ledger
from xray_hpc.records.run_record import Status

MAX_JOBS = 20  # of the account and of the QOS "few"
RUNS = 45


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultSweep]:
    """45 runs, launched once, after the end of all their jobs."""
    if os.geteuid() != 0:
        skip_or_fail("only root can start a cluster with accounting")
    if missing := missing_programs(accounting_too=True):
        skip_or_fail(f"not installed: {', '.join(missing)} ({install_hint(accounting_too=True)})")
    folder = tmp_path_factory.mktemp("limit")
    overrides = ("cluster.account=few", "cluster.qos=few")
    with throwaway_cluster(accounting=True) as slurm:
        sweep = FaultSweep(slurm, folder, RUNS, epochs=1, seconds=0.05, overrides=overrides)
        sweep.launch()
        sweep.wait_until_idle()
        yield sweep


def test_job_limit_splits_the_runs_into_submissions(sweep: FaultSweep) -> None:
    """Each submission leaves room for its stage and collect jobs; collect submits the next."""
    submissions = ledger.read(sweep.paths).submissions.values()
    assert [submission.kind for submission in submissions] == ["stage", "runs", "collect"] * 3
    sizes = [len(submission.tasks) for submission in submissions if submission.kind == "runs"]
    assert sizes[0] == MAX_JOBS - 2
    assert sum(sizes) == RUNS


def test_job_limit_leaves_no_run_waiting(sweep: FaultSweep) -> None:
    assert ledger.read(sweep.paths).waiting == []
    assert {sweep.record(seed).status for seed in sweep.seeds} == {Status.FINISHED}
