"""The end of an attempt in ``run.json``."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.records.lease import Lease
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Failure, RunRecord, Status
from xray_hpc.worker import attempt_record
from xray_hpc.worker.attempt_record import finish_attempt, require_record, start_attempt

CLUSTER = ClusterConfig("slurm")


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    """A run with an attempt that has started."""
    run = RunPaths(tmp_path / "sweep" / "runs" / "ft-1")
    run.folder.mkdir(parents=True)
    start_attempt(run, RunRecord("ft-1", "sweep", "ft"), None)
    return run


@pytest.fixture
def fail_writes(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[int]], None]:
    """Return a function that lets the next writes fail with these error numbers."""
    monkeypatch.setattr(attempt_record, "RETRY_SECONDS", 0.01)
    replace, errors = os.replace, list[int]()

    def failing_replace(*arguments: Any) -> None:
        if errors:
            number = errors.pop(0)
            raise OSError(number, os.strerror(number))
        replace(*arguments)

    monkeypatch.setattr(os, "replace", failing_replace)
    return errors.extend


def test_finish_attempt_retries_a_storage_error_that_may_pass(
    run: RunPaths, fail_writes: Callable[[list[int]], None]
) -> None:
    with Lease.acquire(run.lease) as lease:
        fail_writes([errno.ENOTCONN, errno.ENOSPC])
        outcome = finish_attempt(run, 1, Failure.BUG, CLUSTER, lease)
    assert outcome.failure is Failure.BUG
    assert require_record(run).status is Status.FAILED


def test_finish_attempt_does_not_retry_a_permanent_error(
    run: RunPaths, fail_writes: Callable[[list[int]], None]
) -> None:
    with Lease.acquire(run.lease) as lease:
        fail_writes([errno.EACCES])
        with pytest.raises(PermissionError):
            finish_attempt(run, 1, Failure.BUG, CLUSTER, lease)


def test_finish_attempt_does_not_retry_after_it_lost_the_lease(
    run: RunPaths, fail_writes: Callable[[list[int]], None]
) -> None:
    with Lease.acquire(run.lease, heartbeat=0.05, expiry=0.2) as lease:
        (run.lease / "2").touch()
        while not lease.lost:
            pass
        fail_writes([errno.ENOSPC])
        with pytest.raises(OSError, match="No space left"):
            finish_attempt(run, 1, Failure.BUG, CLUSTER, lease)
    assert require_record(run).status is Status.RUNNING


def test_start_attempt_ends_the_previous_one_without_a_time(run: RunPaths) -> None:
    start_attempt(run, require_record(run), None)
    first, _ = require_record(run).attempts
    assert (first.ended, first.failure) == (None, "killed")
