"""Faults of a run: its processes, its program, its job."""

from __future__ import annotations

import sys

from tests.faults.fault import fault, kill
from tests.faults.fault_sweep import FaultSweep
from xray_hpc.records.run_record import Failure


@fault(method="`kill -9` of the training process", failures=(Failure.KILLED,))
def training_killed(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    kill(*(sweep.training_pid(seed) for seed in sweep.seeds))


@fault(method="`kill -9` of the worker, jobs/run.py", failures=(Failure.KILLED,))
def worker_killed(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    kill(*sweep.job_pids("python", "run.py --submission"))


@fault(method="`kill -9` of the shell of the batch script", failures=(Failure.KILLED,))
def batch_shell_killed(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    kill(*sweep.job_pids("bash", "slurm_script"))


@fault(
    method="`kill -9` of the slurmstepd of the batch step",
    failures=(Failure.KILLED, Failure.NODE_FAILURE),
)
def batch_step_killed(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    kill(*sweep.slurmstepd_pids("batch"))


FAILS_AT_FIRST = "case $SLURM_JOB_NAME in xray-*) [ 0$SLURM_RESTART_COUNT -gt 0 ];; esac"


@fault(
    method="a line of `cluster.setup` fails at the first start of each job",
    failures=(Failure.SETUP,),
    sweep_options={"overrides": (f"cluster.setup=['{FAILS_AT_FIRST}']",)},
)
def setup_fails(sweep: FaultSweep) -> None:
    sweep.launch()


PYTHON = """\
#!/bin/sh
case $SLURM_JOB_NAME in xray-*) [ "0$SLURM_RESTART_COUNT" -gt 0 ] || exit 127 ;; esac
exec {python} "$@"
"""


@fault(method="Python does not start at the first start of each job")
def python_absent(sweep: FaultSweep) -> None:
    program = sweep.folder / "python"
    program.write_text(PYTHON.format(python=sys.executable))
    program.chmod(0o755)
    sweep.overrides = (f"cluster.python={program}",)
    sweep.launch()


@fault(method="the training raises an exception", status="failed", failures=(Failure.BUG,))
def run_raises(sweep: FaultSweep) -> None:
    fail_in_third_epoch(sweep, "raise")


@fault(method="the training calls `os._exit(3)`", status="failed", failures=(Failure.BUG,))
def run_exits(sweep: FaultSweep) -> None:
    fail_in_third_epoch(sweep, "exit", 3)


def fail_in_third_epoch(sweep: FaultSweep, action: str, amount: int = 0) -> None:
    """Let all runs fail in their third epoch, and remove the cause when all jobs have ended."""
    for seed in sweep.seeds:
        sweep.training.order(seed, action, epoch=2, amount=amount)
    sweep.launch()
    sweep.wait_until_idle()
    for seed in sweep.seeds:
        sweep.training.cancel_order(seed)


@fault(
    method="the training allocates 270 MB in a job with 250 MB: the cgroup kills it",
    failures=(Failure.OUT_OF_MEMORY,),
)
def out_of_memory(sweep: FaultSweep) -> None:
    for seed in sweep.seeds:
        sweep.training.order(seed, "allocate", epoch=2, amount=270)
    sweep.launch()


@fault(method="`scancel`", status="cancelled", failures=(Failure.CANCELLED,))
def cancelled(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    sweep.run_slurm("scancel", *sweep.job_ids())


@fault(method="`scontrol requeue`", failures=(Failure.PREEMPTED,))
def requeued(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    for job in sweep.job_ids():
        sweep.run_slurm("scontrol", "requeue", job)


@fault(
    method="a job in a partition of higher priority takes the nodes, without notice",
    failures=(Failure.PREEMPTED,),
)
def preempted(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    preempt(sweep)


@fault(
    method="a job in a partition of higher priority takes the nodes, with a GraceTime of 10 s",
    failures=(Failure.PREEMPTED,),
    sweep_options={"overrides": ("cluster.partition=graced",), "epochs": 12, "seconds": 1.5},
)
def preempted_with_notice(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    preempt(sweep)


def preempt(sweep: FaultSweep) -> None:
    """Run a job of higher priority on all nodes."""
    nodes = f"--nodes={len(sweep.slurm.nodes)}"
    job = ("--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    sweep.run_slurm("sbatch", "--wait", "--partition=high", nodes, *job)


@fault(
    method="`scancel --signal=USR2`, the signal that Slurm sends before the time limit",
    failures=(Failure.PREEMPTED, Failure.TIME_LIMIT),
)
def signalled_before_time_limit(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    sweep.run_slurm("scancel", "--signal=USR2", *sweep.job_ids())


@fault(
    method="a time limit of one minute for a run of two minutes",
    failures=(Failure.TIME_LIMIT,),
    sweep_options={
        "overrides": ("cluster.time=1", "cluster.signal_time=10"),
        "epochs": 24,
        "seconds": 5,
    },
)
def time_limit(sweep: FaultSweep) -> None:
    sweep.launch()
    sweep.wait_until_idle(600)
