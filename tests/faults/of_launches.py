"""Faults at the moment of a launch."""

from __future__ import annotations

import random
import signal
import subprocess
import time

from tests.faults.doing import fault
from tests.faults.of_clusters import restart_controller
from tests.faults.sweeps import FaultError, Sweep
from xray_hpc.records import ledger


@fault(
    how="slurmctld is stopped for 5 s at a random moment of a launch",
    share=1,
    options={"epochs": 3, "seconds": 0.1},
)
def controller_restarts_at_launch(sweep: Sweep) -> None:
    launching = start_launch(sweep)
    time.sleep(random.uniform(0, 0.5))
    restart_controller(sweep, signal.SIGTERM)
    launching.wait()
    sweep.launch()


@fault(
    how="the launch gets `kill -9` at a random moment before, during or after one of its three "
    "sbatch; then the same command again",
    share=4,
    options={"epochs": 3, "seconds": 0.1},
)
def launcher_killed(sweep: Sweep) -> None:
    real = sweep.slurm.run("sh", "-c", "command -v sbatch").stdout.strip()
    sweep.program("sbatch", f'sleep 0.1; {real} "$@"; code=$?; sleep 0.1; exit $code')
    launching, asked = start_launch(sweep), random.randint(0, 3)
    sweep.until(lambda: events(sweep).count("submitting") >= asked, f"sbatch {asked}")
    time.sleep(random.uniform(0, 0.3))
    launching.kill()
    launching.wait()
    sweep.note = moment(sweep)
    sweep.until(lambda: relaunched(sweep), "the same command to be taken", 60)


def moment(sweep: Sweep) -> str:
    """Where a launch was when it was killed, by the ledger."""
    said = events(sweep)
    asked, answered = said.count("submitting"), said.count("submitted")
    if asked > answered:
        return f"during sbatch {asked} of 3"
    return f"after sbatch {answered} of 3" if answered else "before the first sbatch"


def events(sweep: Sweep) -> list[str]:
    """What a launch has put into the ledger, by its kinds."""
    return [event["event"] for event in ledger.events(sweep.paths)]


def start_launch(sweep: Sweep) -> subprocess.Popen[bytes]:
    """Start a launch, and wait until the sweep's folder is there."""
    quiet = subprocess.DEVNULL
    environment = dict(sweep.environment())
    launching = subprocess.Popen(
        sweep.command(), cwd=sweep.folder, env=environment, stdout=quiet, stderr=quiet
    )
    sweep.until(lambda: sweep.paths.folder.exists(), "the sweep's folder")
    return launching


def relaunched(sweep: Sweep) -> bool:
    """Launch; False where an sbatch that outlived its launch is still at work."""
    try:
        sweep.launch()
    except FaultError as error:
        if "another launch is at work" in str(error):
            return False
        raise
    return True
