"""Faults of nodes and of the controller."""

from __future__ import annotations

import signal
import time

from tests.faults.doing import fault
from tests.faults.sweeps import Sweep
from xray_hpc.records.run_record import Failure

# slurmctld writes down what it knows every 5 s. Jobs that it forgets to have started it starts
# again, and holds them where their nodes say that they run already.
SAVED_AFTER = 6


def nodes(sweep: Sweep) -> list[str]:
    """The nodes on which runs train."""
    return sorted(set(sweep.ask("squeue", "-h", "-t", "RUNNING", "-o", "%N").split()))


@fault(
    how="`kill -9` of slurmd until Slurm calls the node down (25 s); what it ran lives on",
    failures=(Failure.NODE_FAILURE,),
    options={"epochs": 30, "seconds": 2},
)
def node_dies(sweep: Sweep) -> None:
    sweep.train()
    for node in nodes(sweep):
        sweep.cluster.kill_node(node)


@fault(
    how="`kill -9` of slurmd, then the node set down: at once another node starts the run whose "
    "first copy lives on",
    failures=(Failure.NODE_FAILURE, Failure.KILLED),
    options={"epochs": 12, "seconds": 2},
)
def node_lost(sweep: Sweep) -> None:
    sweep.train()
    for node in nodes(sweep):
        sweep.cluster.kill_node(node)
        sweep.cluster.down(node)


@fault(
    how="the node is set down, and its slurmd ends the job there",
    failures=(Failure.NODE_FAILURE, Failure.PREEMPTED),
)
def node_set_down(sweep: Sweep) -> None:
    sweep.train()
    for node in nodes(sweep):
        sweep.cluster.down(node)


@fault(how="slurmctld is stopped for 5 s and started again while runs train")
def controller_restarts(sweep: Sweep) -> None:
    sweep.train()
    restart_controller(sweep, signal.SIGTERM)


@fault(
    how="slurmctld gets `kill -9` while runs train, and is started again after 5 s",
    options={"epochs": 16, "seconds": 1},
)
def controller_killed(sweep: Sweep) -> None:
    sweep.train()
    time.sleep(SAVED_AFTER)
    restart_controller(sweep, signal.SIGKILL)


def restart_controller(sweep: Sweep, number: int) -> None:
    sweep.cluster.stop_controller(number)
    time.sleep(5)
    sweep.cluster.start_controller()
