"""Faults of a run whose jobs run in a container that has nothing of Slurm."""

from __future__ import annotations

from tests.faults import cluster_faults, run_faults
from tests.faults.fault import fault, in_container
from tests.faults.fault_sweep import FaultSweep
from xray_hpc.records import ledger
from xray_hpc.records.run_record import Failure

training_killed_in_container = in_container(run_faults.training_killed)
worker_killed_in_container = in_container(run_faults.worker_killed)
batch_shell_killed_in_container = in_container(run_faults.batch_shell_killed)
out_of_memory_in_container = in_container(run_faults.out_of_memory)
cancelled_in_container = in_container(run_faults.cancelled)
preempted_in_container = in_container(run_faults.preempted)
time_limit_in_container = in_container(run_faults.time_limit)
node_lost_in_container = in_container(cluster_faults.node_lost)
node_set_down_in_container = in_container(cluster_faults.node_set_down)


@fault(
    method="the jobs are cancelled, and their runs wait in the ledger for the collect job to "
    "submit them, as those above a submit limit do",
    failures=(Failure.CANCELLED,),
    sweep_options={"container": True},
)
def later_submission(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    ledger.append(sweep.paths, "waiting", runs=[sweep.runs[seed].name for seed in sweep.seeds])
    sweep.run_slurm("scancel", *sweep.job_ids())
