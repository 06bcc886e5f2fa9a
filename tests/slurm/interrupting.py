"""Interrupt a run that trains on the throw-away cluster, in the ways that happen to runs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from tests.hold import Hold
from tests.slurm.client import Slurm
from tests.slurm.launcher import TIMEOUT_SECONDS
from tests.slurm.processes import alive, commands, kill_and_wait
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Status, read_record
from xray_hpc.training.checkpoint_store import Position

TIME_LIMIT = 240  # minutes


class InterruptedRun:
    """A run whose training is held in its second epoch in each attempt, to be interrupted there.

    Attributes:
        left: the positions of its checkpoints after each interruption, the newest last.
    """

    def __init__(self, slurm: Slurm, run: RunPaths, job: str, hold: Hold) -> None:
        assert slurm.cluster is not None
        self.slurm, self.cluster = slurm, slurm.cluster
        self.run, self.job, self.hold = run, job, hold
        self.left: list[list[Position]] = []

    @property
    def node(self) -> str:
        return self.slurm.job(self.job)["NodeList"]

    def checkpoints(self) -> list[Path]:
        """Return its checkpoint files, the newest last."""
        return sorted(self.run.checkpoint_folder.glob("epoch-*.npz"))

    def wait_until_held(self) -> None:
        """Wait until the attempt is held and has saved a checkpoint; block further attempts."""
        last = self.left[-1][-1] if self.left else Position(0, 0)
        self.until(lambda: self.hold.held() > len(self.left), "its training to be held")
        self.until(lambda: max(self._positions(), default=last) > last, "a new checkpoint")
        self.hold.block_starts()

    def wait_until_requeued(self) -> None:
        """Wait until Slurm has requeued the job; then let its next attempt train."""
        self.until(self.is_requeued, "a restart")
        self.left.append(self._positions())
        self.hold.allow_starts()

    def is_requeued(self) -> bool:
        """Return whether the job is pending or running again since the last interruption."""
        job, restarts = self.slurm.job(self.job), len(self.left) + 1
        return job["Restarts"] == str(restarts) and job["JobState"] in ("PENDING", "RUNNING")

    def _positions(self) -> list[Position]:
        return [Position(*map(int, re.findall(r"\d+", path.name))) for path in self.checkpoints()]

    def processes(self) -> Iterator[tuple[int, str]]:
        """Yield the id and command line of the processes of the job, and of its slurmstepds."""
        step = f"slurmstepd: [{self.job}."
        for pid, command in commands():
            with suppress(OSError):
                text = Path(f"/proc/{pid}/environ").read_text(errors="replace")
                environment = set(text.split("\0"))
                on_cluster = f"SLURM_CONF={self.cluster.conf}" in environment
                if on_cluster and (
                    command.startswith(step) or f"SLURM_JOB_ID={self.job}" in environment
                ):
                    yield pid, command

    def python(self, script: str) -> list[int]:
        """Return the job's Python processes that run ``script``."""
        found = [
            pid
            for pid, command in self.processes()
            if Path(command.split(" ")[0]).name.startswith("python") and script in command
        ]
        assert found, f"job {self.job} has no process of {script}"
        return found

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until ``holds`` returns true; the run must not finish meanwhile."""
        end = time.monotonic() + TIMEOUT_SECONDS
        while not holds():
            record = read_record(self.run)
            assert record is not None
            assert record.status is not Status.FINISHED, f"finished, without {what}"
            assert time.monotonic() < end, f"waited {TIMEOUT_SECONDS} s for {what}"
            time.sleep(0.05)


# Interruptions


def preempted(*runs: InterruptedRun) -> None:
    """Let a job of higher priority take the nodes of the runs."""
    nodes = ",".join({run.node for run in runs})
    job = ("--exclusive", "--output=/dev/null", "--wrap=true")
    slurm = runs[0].slurm
    slurm.run(
        "sbatch", "--wait", "--partition=high", f"--nodelist={nodes}", *job, timeout=TIMEOUT_SECONDS
    )


def requeued(run: InterruptedRun) -> None:
    run.slurm.run("scontrol", "requeue", run.job)


def near_time_limit(run: InterruptedRun) -> None:
    """Move the time limit to within two minutes; Slurm sends its signal within 30 seconds."""
    hours, minutes, _ = run.slurm.job(run.job)["RunTime"].split(":")
    set_time_limit(run, 60 * int(hours) + int(minutes) + 2)
    run.until(run.is_requeued, "a restart")
    set_time_limit(run, TIME_LIMIT)


def set_time_limit(run: InterruptedRun, minutes: int) -> None:
    run.slurm.run("scontrol", "update", f"jobid={run.job}", f"timelimit={minutes}")


def training_killed(run: InterruptedRun) -> None:
    kill_and_wait(run.python("xray_hpc.training"))


def worker_killed(run: InterruptedRun) -> None:
    kill_and_wait(run.python("run.py --submission"))


def killed_and_torn(run: InterruptedRun) -> None:
    """Kill the training, and truncate its newest checkpoint."""
    training_killed(run)
    newest = run.checkpoints()[-1]
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])


def node_died(run: InterruptedRun) -> None:
    """Kill everything on the node, which then comes back."""
    node = run.node
    run.cluster.kill_node(node)
    # Slurm's own processes first: they would report that a task has ended.
    left = sorted(run.processes(), key=lambda one: not one[1].startswith("slurmstepd"))
    kill_and_wait(pid for pid, _ in left)
    run.cluster.set_down(node)
    run.cluster.restore(node)


def node_lost(run: InterruptedRun) -> None:
    """Let Slurm lose the node and start the run on another one; the first copy still runs."""
    node, (training,) = run.node, run.python("xray_hpc.training")
    run.cluster.kill_node(node)
    run.cluster.set_down(node)
    run.until(lambda: not alive(training), "the first copy to end")
