"""Faults of one run: its processes, its program, its job."""

from __future__ import annotations

from tests.faults.doing import fault, kill
from tests.faults.sweeps import Sweep
from xray_hpc.records.run_record import Failure


@fault(how="`kill -9` of the process that trains", failures=(Failure.KILLED,))
def training_killed(sweep: Sweep) -> None:
    sweep.train()
    kill(*(sweep.training(seed) for seed in sweep.seeds))


@fault(how="`kill -9` of jobs/run.py, which watches over the training", failures=(Failure.KILLED,))
def worker_killed(sweep: Sweep) -> None:
    sweep.train()
    kill(*sweep.processes("python", "run.py --submission"))


@fault(how="`kill -9` of the batch script's shell", failures=(Failure.KILLED,))
def batch_shell_killed(sweep: Sweep) -> None:
    sweep.train()
    kill(*sweep.processes("bash", "slurm_script"))


@fault(
    how="`kill -9` of the slurmstepd of the batch step",
    failures=(Failure.KILLED, Failure.NODE_FAILURE),
)
def batch_step_killed(sweep: Sweep) -> None:
    sweep.train()
    kill(*sweep.stepds("batch"))


@fault(how="the training raises an exception", left="failed", failures=(Failure.BUG,))
def run_raises(sweep: Sweep) -> None:
    misbehave(sweep, "raise")


@fault(how="the training calls `os._exit(3)`", left="failed", failures=(Failure.BUG,))
def run_exits(sweep: Sweep) -> None:
    misbehave(sweep, "exit", 3)


def misbehave(sweep: Sweep, do: str, amount: int = 0) -> None:
    """Have the runs do it in their third epoch, until they are launched again."""
    for seed in sweep.seeds:
        sweep.control.order(seed, do, epoch=2, amount=amount)
    sweep.launch()
    sweep.until_idle()
    for seed in sweep.seeds:
        sweep.control.countermand(seed)


@fault(
    how="it takes 270 MB of memory where the job has 250: the cgroup kills it",
    failures=(Failure.OUT_OF_MEMORY,),
)
def out_of_memory(sweep: Sweep) -> None:
    for seed in sweep.seeds:
        sweep.control.order(seed, "allocate", epoch=2, amount=270)
    sweep.launch()


@fault(how="`scancel`", left="cancelled", failures=(Failure.CANCELLED,))
def cancelled(sweep: Sweep) -> None:
    sweep.train()
    sweep.ask("scancel", *sweep.tasks())


@fault(how="`scontrol requeue`", failures=(Failure.PREEMPTED,))
def requeued(sweep: Sweep) -> None:
    sweep.train()
    for task in sweep.tasks():
        sweep.ask("scontrol", "requeue", task)


@fault(
    how="a job of a higher partition takes the nodes, without notice", failures=(Failure.PREEMPTED,)
)
def preempted(sweep: Sweep) -> None:
    sweep.train()
    preempt(sweep)


@fault(
    how="a job of a higher partition takes the nodes, with 10 s of notice (GraceTime)",
    failures=(Failure.PREEMPTED,),
    options={"words": ("cluster.partition=graced",), "epochs": 12, "seconds": 1.5},
)
def preempted_with_notice(sweep: Sweep) -> None:
    sweep.train()
    preempt(sweep)


def preempt(sweep: Sweep) -> None:
    nodes = f"--nodes={len(sweep.slurm.nodes)}"
    job = ("--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    sweep.ask("sbatch", "--wait", "--partition=high", nodes, *job)


@fault(
    how="`scancel --signal=USR2`, as Slurm says that the time limit is near",
    failures=(Failure.PREEMPTED, Failure.TIME_LIMIT),
)
def told_of_its_limit(sweep: Sweep) -> None:
    sweep.train()
    sweep.ask("scancel", "--signal=USR2", *sweep.tasks())


@fault(
    how="a real time limit of a minute, twice as short as the run",
    failures=(Failure.TIME_LIMIT,),
    options={"words": ("cluster.time=1", "cluster.signal_time=10"), "epochs": 24, "seconds": 5},
)
def time_limit(sweep: Sweep) -> None:
    sweep.launch()
    sweep.until_idle(600)
