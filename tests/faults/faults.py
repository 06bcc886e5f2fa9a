"""What is done to runs, their jobs, their nodes and their files.

A fault is a function that is given a sweep which is not launched yet. When it returns, the sweep is
left to itself until no job of it waits or runs; what is not finished by then is launched again with
the same command.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import storage
from sweeps import FaultError, Sweep

from xray_hpc.runs import ledger
from xray_hpc.runs.lease import holder
from xray_hpc.runs.record import Failure

# slurmctld writes down what it knows every 5 s. Jobs that it forgets to have started it starts
# again, and holds them where their nodes say that they run already.
SAVED_AFTER = 6


@dataclass(frozen=True)
class Fault:
    """A fault and what is expected of it.

    ``how`` says what is done, for the table. ``left`` is what the runs are called before they are
    launched again; None where they come back by themselves. ``failures`` are the classes that the
    tries it ends may have. A fault is done once to a sweep of as many runs as were asked for; one
    with a ``share`` is done to so many sweeps of two runs instead, for each time that was asked
    for, and launches them again itself. The results of a ``mounted`` one have a file system of
    their own. ``options`` are those of :class:`Sweep`.
    """

    do: Callable[[Sweep], None]
    how: str
    left: str | None = None
    failures: tuple[Failure, ...] = ()
    share: int = 0
    mounted: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.do.__name__.replace("_", " ")


FAULTS: dict[str, Fault] = {}


def fault(**described: Any) -> Callable[[Callable[[Sweep], None]], Callable[[Sweep], None]]:
    def enter(do: Callable[[Sweep], None]) -> Callable[[Sweep], None]:
        found = Fault(do, **described)
        FAULTS[do.__name__] = found
        return do

    return enter


def kill(*pids: int) -> None:
    if not pids:
        raise FaultError("found no process to kill")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


# Processes


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


# Slurm


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
    options={"words": ("cluster.time=1", "cluster.notice=10"), "epochs": 24, "seconds": 5},
)
def time_limit(sweep: Sweep) -> None:
    sweep.launch()
    sweep.until_idle(600)


# Nodes and the controller


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


# The launch


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


# Storage

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
    sweep.until(lambda: not any(holder(run.lease) for run in runs), "the leases to expire")
    collect(sweep)


def collect(sweep: Sweep) -> None:
    """Make the report that the collect job could not write."""
    done = sweep.call(sys.executable, "-m", "xray_hpc.collect", str(sweep.paths.folder))
    if done.returncode != 0:
        raise FaultError(f"collect -> {done.returncode}: {done.stdout}{done.stderr}")


# What Slurm's commands answer


@fault(
    how="`sacct` is absent; a training is killed and the sweep launched again meanwhile",
    failures=(Failure.KILLED,),
)
def sacct_absent(sweep: Sweep) -> None:
    ask_beside(sweep, 'echo "sacct: not found" >&2; exit 127')


@fault(how="`sacct` takes 10 s and fails; as above", failures=(Failure.KILLED,))
def sacct_slow(sweep: Sweep) -> None:
    ask_beside(sweep, "sleep 10; exit 1")


@fault(how="`sacct` fails at once; as above", failures=(Failure.KILLED,))
def sacct_fails(sweep: Sweep) -> None:
    ask_beside(sweep, 'echo "Slurm accounting storage is disabled" >&2; exit 1')


def ask_beside(sweep: Sweep, script: str) -> None:
    """Put up with a broken sacct while a training is killed, shown and launched again."""
    sweep.program("sacct", script)
    training_killed(sweep)
    status(sweep)
    sweep.launch()


@fault(how="`squeue` fails for a while: a launch and a status are tried then, and again after it")
def squeue_fails(sweep: Sweep) -> None:
    sweep.train()
    flag = sweep.folder / "away"
    real = sweep.slurm.run("sh", "-c", "command -v squeue").stdout.strip()
    said = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    sweep.program("squeue", f'[ -e {flag} ] && echo "{said}" >&2 && exit 1\nexec {real} "$@"')
    flag.touch()
    refused = sweep.call(*sweep.command())
    if refused.returncode != 2 or not refused.stderr.startswith("error: Slurm does not answer"):
        raise FaultError(f"launch without a queue -> {refused.returncode}: {refused.stderr}")
    status(sweep)
    flag.unlink()
    status(sweep)
    sweep.launch()


def status(sweep: Sweep) -> str:
    done = sweep.call(sys.executable, "-m", "xray_hpc.status", str(sweep.paths.folder))
    if done.returncode != 0 or "Traceback" in done.stderr:
        raise FaultError(f"status -> {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout
