"""Faults of the file system that the results are on."""

from __future__ import annotations

import sys

from tests.faults import storage
from tests.faults.doing import fault
from tests.faults.sweeps import FaultError, Sweep
from xray_hpc.records.lease import current_owner
from xray_hpc.records.run_record import Failure

# While a record cannot be written, it cannot say why; the next try takes the one before for killed.
UNWRITTEN = (Failure.STORAGE, Failure.KILLED)


@fault(
    how="the results' file system is full while runs train; then there is room again",
    left="lost",
    failures=UNWRITTEN,
    mounted=True,
)
def disk_full(sweep: Sweep) -> None:
    sweep.train()
    ballast = storage.fill(sweep.results)
    sweep.until_idle()
    ballast.unlink()
    collect(sweep)


@fault(
    how="the results' file system (ext4) turns read-only while runs train; then it is mounted anew",
    left="lost",
    failures=UNWRITTEN,
    mounted=True,
)
def read_only(sweep: Sweep) -> None:
    sweep.train()
    storage.make_read_only(sweep.results)
    sweep.until_idle()
    storage.make_writable(sweep.results)
    runs = sweep.runs.values()
    sweep.until(lambda: not any(current_owner(run.lease) for run in runs), "the leases to expire")
    collect(sweep)


def collect(sweep: Sweep) -> None:
    """Make the report that the collect job could not write."""
    done = sweep.call(sys.executable, "-m", "xray_hpc.collect", str(sweep.paths.folder))
    if done.returncode != 0:
        raise FaultError(f"collect -> {done.returncode}: {done.stdout}{done.stderr}")
