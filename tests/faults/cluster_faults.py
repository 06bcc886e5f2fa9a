"""Faults of nodes and of the controller."""

from __future__ import annotations

import signal
import time

from tests.faults.fault import fault
from tests.faults.fault_sweep import FaultSweep
from xray_hpc.records.run_record import Failure

# slurmctld saves its state every 5 s. It restarts jobs whose start it had not saved, and holds them
# if their nodes report that they run already.
STATE_SAVED_SECONDS = 6


def training_nodes(sweep: FaultSweep) -> list[str]:
    """Return the nodes on which runs train."""
    return sorted(set(sweep.run_slurm("squeue", "-h", "-t", "RUNNING", "-o", "%N").split()))


@fault(
    method="`kill -9` of slurmd until Slurm sets the node down (25 s); its processes live on",
    failures=(Failure.NODE_FAILURE,),
    sweep_options={"epochs": 30, "seconds": 2},
)
def node_dies(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    for node in training_nodes(sweep):
        sweep.cluster.kill_node(node)


@fault(
    method="`kill -9` of slurmd, then the node is set down: another node starts the run at once, "
    "while its first process lives on",
    failures=(Failure.NODE_FAILURE, Failure.KILLED),
    sweep_options={"epochs": 12, "seconds": 2},
)
def node_lost(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    for node in training_nodes(sweep):
        sweep.cluster.kill_node(node)
        sweep.cluster.set_down(node)


@fault(
    method="the node is set down, and its slurmd ends the job there",
    failures=(Failure.NODE_FAILURE, Failure.PREEMPTED),
)
def node_set_down(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    for node in training_nodes(sweep):
        sweep.cluster.set_down(node)


@fault(method="slurmctld is stopped for 5 s while runs train")
def controller_restarts(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    restart_controller(sweep, signal.SIGTERM)


@fault(
    method="`kill -9` of slurmctld while runs train; it is started again after 5 s",
    sweep_options={"epochs": 16, "seconds": 1},
)
def controller_killed(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    time.sleep(STATE_SAVED_SECONDS)
    restart_controller(sweep, signal.SIGKILL)


def restart_controller(sweep: FaultSweep, number: int) -> None:
    """Stop slurmctld with a signal, and start it again after 5 s."""
    sweep.cluster.stop_controller(number)
    time.sleep(5)
    sweep.cluster.start_controller()
