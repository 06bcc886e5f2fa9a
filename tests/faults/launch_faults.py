"""Faults during a launch."""

from __future__ import annotations

import random
import signal
import subprocess
import time

from tests.faults.cluster_faults import restart_controller
from tests.faults.fault import fault
from tests.faults.fault_sweep import FaultError, FaultSweep
from tests.without_flock import SITECUSTOMIZE
from xray_hpc.records import ledger


@fault(
    method="slurmctld is stopped for 5 s at a random moment of a launch",
    sweeps=1,
    sweep_options={"epochs": 3, "seconds": 0.1},
)
def controller_restarts_at_launch(sweep: FaultSweep) -> None:
    launch = start_launch(sweep)
    time.sleep(random.uniform(0, 0.5))
    restart_controller(sweep, signal.SIGTERM)
    launch.wait()
    sweep.launch()


@fault(
    method="`kill -9` of the launch at a random moment before, during or after one of its three "
    "sbatch; then the same command again",
    sweeps=4,
    sweep_options={"epochs": 3, "seconds": 0.1},
)
def launcher_killed(sweep: FaultSweep) -> None:
    sbatch = sweep.slurm.run("sh", "-c", "command -v sbatch").stdout.strip()
    sweep.replace_program("sbatch", f'sleep 0.1; {sbatch} "$@"; code=$?; sleep 0.1; exit $code')
    launch, count = start_launch(sweep), random.randint(0, 3)
    sweep.wait_for(lambda: ledger_events(sweep).count("submitting") >= count, f"sbatch {count}")
    time.sleep(random.uniform(0, 0.3))
    launch.kill()
    launch.wait()
    sweep.note = launch_stage(sweep)
    sweep.wait_for(lambda: try_launch(sweep), "a launch that is not refused", 60)


@fault(
    method="the same on a site without `flock`",
    sweeps=4,
    sweep_options={"epochs": 3, "seconds": 0.1},
)
def launcher_killed_without_flock(sweep: FaultSweep) -> None:
    with (sweep.training.folder / "sitecustomize.py").open("a") as site:
        site.write(SITECUSTOMIZE)
    launcher_killed.inject(sweep)
    if not (sweep.paths.folder / ".lock.lease").is_dir():
        raise FaultError("the launches had flock")


def launch_stage(sweep: FaultSweep) -> str:
    """Return at which sbatch a launch was killed, from the ledger."""
    events = ledger_events(sweep)
    submitting, submitted = events.count("submitting"), events.count("submitted")
    if submitting > submitted:
        return f"during sbatch {submitting} of 3"
    return f"after sbatch {submitted} of 3" if submitted else "before the first sbatch"


def ledger_events(sweep: FaultSweep) -> list[str]:
    """Return the kinds of the events in the ledger."""
    return [event["event"] for event in ledger.events(sweep.paths)]


def start_launch(sweep: FaultSweep) -> subprocess.Popen[bytes]:
    """Start a launch, and wait until the folder of the sweep exists."""
    launch = subprocess.Popen(
        sweep.launch_command(),
        cwd=sweep.folder,
        env=sweep.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    sweep.wait_for(lambda: sweep.paths.folder.exists(), "the folder of the sweep")
    return launch


def try_launch(sweep: FaultSweep) -> bool:
    """Launch; return False if an sbatch that outlived the killed launch still holds the lock."""
    try:
        sweep.launch()
    except FaultError as error:
        if "another launch" in str(error):
            return False
        raise
    return True
