"""Faults of the file system with the results."""

from __future__ import annotations

import sys

from tests.faults import loop_filesystem
from tests.faults.fault import fault
from tests.faults.fault_sweep import FaultError, FaultSweep
from xray_hpc.records.lease_file import current_owner
from xray_hpc.records.run_record import Failure

# A record that cannot be written has no failure; the next attempt takes it for a killed one.
UNWRITTEN = (Failure.STORAGE, Failure.KILLED)


@fault(
    method="the results' file system is full while runs train; then space is freed",
    status="lost",
    failures=UNWRITTEN,
    own_filesystem=True,
)
def disk_full(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    ballast = loop_filesystem.fill(sweep.results)
    sweep.training.release()
    sweep.wait_until_idle()
    ballast.unlink()
    collect(sweep)


@fault(
    method="the results' file system (ext4) turns read-only while runs train; then it is remounted",
    status="lost",
    failures=UNWRITTEN,
    own_filesystem=True,
)
def read_only(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    loop_filesystem.make_read_only(sweep.results)
    sweep.training.release()
    sweep.wait_until_idle()
    loop_filesystem.make_writable(sweep.results)
    runs = sweep.runs.values()
    sweep.wait_for(
        lambda: not any(current_owner(run.lease) for run in runs), "the leases to expire"
    )
    collect(sweep)


def collect(sweep: FaultSweep) -> None:
    """Write the report that the collect job could not write."""
    done = sweep.run(sys.executable, "-m", "xray_hpc.collect", str(sweep.paths.folder))
    if done.returncode != 0:
        raise FaultError(f"collect exited with {done.returncode}: {done.stdout}{done.stderr}")
