"""How the end of a try is written down."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.records.lease import Lease
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Failure, RunRecord, Status
from xray_hpc.worker import attempt_record
from xray_hpc.worker.attempt_record import finish_attempt, require_record, start_attempt


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    """A run that has begun."""
    paths = RunPaths(tmp_path / "sweep" / "runs" / "ft-1")
    start_attempt(paths, RunRecord("ft-1", "sweep", "ft"), None)
    return paths


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have the next files that are written fail with errors of these numbers."""
    monkeypatch.setattr(attempt_record, "RETRY_SECONDS", 0.01)
    replace, errors = os.replace, []

    def fail(*words: Any) -> None:
        if errors:
            number = errors.pop(0)
            raise OSError(number, os.strerror(number))
        replace(*words)

    monkeypatch.setattr(os, "replace", fail)
    return errors.extend


def test_a_storage_that_is_away_for_a_moment_is_waited_for(run: RunPaths, failing: Any) -> None:
    with Lease.acquire(run.lease) as lease:
        failing([errno.ENOTCONN, errno.ENOSPC])
        outcome = finish_attempt(run, 1, Failure.BUG, ClusterConfig("slurm"), lease)
    assert outcome.failure is Failure.BUG
    assert require_record(run).status is Status.FAILED


def test_what_will_not_pass_is_not_waited_for(run: RunPaths, failing: Any) -> None:
    with Lease.acquire(run.lease) as lease:
        failing([errno.EACCES])
        with pytest.raises(PermissionError):
            finish_attempt(run, 1, Failure.BUG, ClusterConfig("slurm"), lease)


def test_a_run_that_somebody_took_meanwhile_is_not_written_to(run: RunPaths, failing: Any) -> None:
    with Lease.acquire(run.lease, heartbeat=0.05, expiry=0.2) as lease:
        (run.lease / "2").touch()
        while not lease.lost:
            pass
        failing([errno.ENOSPC])
        with pytest.raises(OSError, match="No space left"):
            finish_attempt(run, 1, Failure.BUG, ClusterConfig("slurm"), lease)
    assert require_record(run).status is Status.RUNNING


def test_a_try_that_nobody_saw_end_has_no_end(run: RunPaths) -> None:
    record = require_record(run)
    start_attempt(run, record, None)
    first, _ = require_record(run).attempts
    assert (first.ended, first.failure) == (None, "killed")
