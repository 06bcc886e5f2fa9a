"""Ending a run that trains on the throw-away cluster, in ways that happen to runs."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.slurm.client import Slurm
from tests.slurm.launching import PATIENCE
from tests.slurm.processes import commands, kill_and_wait
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Status, read_record
from xray_hpc.training.checkpoint_store import Position

LIMIT = 240  # minutes


class Interrupted:
    """The run of a sweep of one, in ``job``, to be interrupted each time that it has got further.

    ``left`` has, for each time, where its checkpoints were before it went on, the newest last.
    """

    def __init__(self, slurm: Slurm, run: RunPaths, job: str) -> None:
        assert slurm.cluster is not None
        self.slurm, self.cluster = slurm, slurm.cluster
        self.run, self.job = run, job
        self.left: list[list[Position]] = []

    @property
    def node(self) -> str:
        return self.slurm.job(self.job)["NodeList"]

    def checkpoints(self) -> list[Path]:
        """Its whole checkpoints, the newest last."""
        return sorted(self.run.checkpoint_folder.glob("epoch-*.npz"))

    def get_further(self) -> None:
        """Wait until it has a new checkpoint since it was interrupted."""
        aim = self.left[-1][-1] if self.left else Position(0, 0)
        self.until(lambda: max(self._places(), default=aim) > aim, f"a checkpoint behind {aim}")

    def come_back(self) -> None:
        """Wait until the job is put back, and what ran in it has ended."""
        self.until(lambda: self.is_back(len(self.left) + 1), "a restart")
        self.left.append(self._places())

    def is_back(self, restarts: int) -> bool:
        """Whether it has been put back so often, and waits or runs again."""
        said = self.slurm.job(self.job)
        return said["Restarts"] == str(restarts) and said["JobState"] in ("PENDING", "RUNNING")

    def _places(self) -> list[Position]:
        return [Position(*map(int, re.findall(r"\d+", path.name))) for path in self.checkpoints()]

    def processes(self) -> Iterator[tuple[int, str]]:
        """Process id and command line of what runs in the job, and of Slurm's own beside it."""
        step = f"slurmstepd: [{self.job}."
        for pid, command in commands():
            with suppress(OSError):
                text = Path(f"/proc/{pid}/environ").read_text(errors="replace")
                environment = set(text.split("\0"))
                ours = f"SLURM_CONF={self.cluster.conf}" in environment
                if ours and (command.startswith(step) or f"SLURM_JOB_ID={self.job}" in environment):
                    yield pid, command

    def python(self, script: str) -> list[int]:
        """The job's Python processes that run ``script``."""
        found = [
            pid
            for pid, command in self.processes()
            if Path(command.split(" ")[0]).name.startswith("python") and script in command
        ]
        assert found, f"job {self.job} has no process of {script}"
        return found

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for it, while the run is not finished."""
        end = time.monotonic() + PATIENCE
        while not holds():
            found = read_record(self.run)
            assert found is not None
            assert found.status is not Status.FINISHED, f"it is finished; waited for {what}"
            assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
            time.sleep(0.05)


# What happens to runs


def preempted(*runs: Interrupted) -> None:
    """A job of higher priority takes their nodes."""
    nodes = ",".join({run.node for run in runs})
    job = ("--exclusive", "--output=/dev/null", "--wrap=true")
    slurm = runs[0].slurm
    slurm.run("sbatch", "--wait", "--partition=high", f"--nodelist={nodes}", *job, timeout=PATIENCE)


def requeued(run: Interrupted) -> None:
    run.slurm.run("scontrol", "requeue", run.job)


def near_its_limit(run: Interrupted) -> None:
    """Its time limit is two minutes away at most, of which Slurm tells it within 30 seconds."""
    with held_until_told(run):
        hours, minutes, _ = run.slurm.job(run.job)["RunTime"].split(":")
        set_limit(run, 60 * int(hours) + int(minutes) + 2)
    run.until(lambda: run.is_back(len(run.left) + 1), "a restart")
    set_limit(run, LIMIT)


@contextmanager
def held_until_told(run: Interrupted) -> Iterator[None]:
    """Hold its training still from here until it is told to end: it would be finished by then."""
    (training,) = run.python("xray_hpc.training")
    os.kill(training, signal.SIGSTOP)
    yield
    run.until(lambda: has_pending_signals(training), "a signal")
    os.kill(training, signal.SIGCONT)


def set_limit(run: Interrupted, minutes: int) -> None:
    run.slurm.run("scontrol", "update", f"jobid={run.job}", f"timelimit={minutes}")


def has_pending_signals(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    pending = (line.split()[1] for line in lines if line.startswith(("SigPnd", "ShdPnd")))
    return any(int(mask, 16) for mask in pending)


def training_killed(run: Interrupted) -> None:
    kill_and_wait(run.python("xray_hpc.training"))


def worker_killed(run: Interrupted) -> None:
    kill_and_wait(run.python("run.py --submission"))


def killed_and_torn(run: Interrupted) -> None:
    """Its training is killed, and of its newest checkpoint only a half is left."""
    training_killed(run)
    newest = run.checkpoints()[-1]
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])


def node_died(run: Interrupted) -> None:
    """The node fails with all that runs on it, and comes back empty."""
    node = run.node
    run.cluster.kill_node(node)
    # Slurm's own first: they must not live to tell that a task has ended.
    left = sorted(run.processes(), key=lambda one: not one[1].startswith("slurmstepd"))
    kill_and_wait(pid for pid, _ in left)
    run.cluster.down(node)
    run.cluster.restore(node)


def node_lost(run: Interrupted) -> None:
    """Slurm has lost the node, and starts the run on another one; its first copy lives on."""
    node = run.node
    with held_until_told(run):
        run.cluster.kill_node(node)
        run.cluster.down(node)
