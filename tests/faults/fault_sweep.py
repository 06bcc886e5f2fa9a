"""A sweep of fake trainings on a cluster of its own: launch it, wait for it, inspect it."""

from __future__ import annotations

import contextlib
import csv
import functools
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.audit import Audit
from tests.faults.fake_training import MODEL, FakeTraining
from tests.slurm.bare_container import bare_container
from tests.slurm.client import Slurm
from tests.slurm.cluster import Cluster
from tests.slurm.config_files import Size
from tests.slurm.launcher import Launcher
from tests.slurm.processes import commands
from xray_hpc.records.atomic_files import read_json
from xray_hpc.records.frozen_run import read_frozen_run
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.records.run_record import RunRecord, read_record

TIMEOUT_SECONDS = 180
MEMORY = "cluster.mem=250M"


class FaultError(Exception):
    """A fault did not have the expected effect; the message says what happened instead."""


@dataclass
class FaultSweep:
    """A sweep on a cluster; its runs are named by their seeds.

    Attributes:
        slurm: The cluster.
        folder: Where everything is written.
        run_count: The number of runs.
        epochs: The number of epochs of each run.
        seconds: The duration of an epoch.
        overrides: Overrides to add to the launch command.
        name: The name of the sweep.
        container: Whether the jobs run in a container that has nothing of Slurm.
        note: A remark of the fault about what it did, for the table.
        results: The folder of all sweeps.
        environ: The variables to add to the environment of the launch.
    """

    slurm: Slurm
    folder: Path
    run_count: int
    epochs: int = 10
    seconds: float = 0.7
    overrides: Sequence[str] = ()
    name: str = "faults"
    container: bool = False
    note: str = ""
    results: Path = field(init=False)
    environ: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.results = self.folder / "results"
        self.training.prepare(seconds=self.seconds, epochs=self.epochs)
        self.environ = dict(self.slurm.environment) | self.training.environment

    @property
    def training(self) -> FakeTraining:
        """The control of the fake trainings."""
        return FakeTraining(self.folder / f"training-{self.name}")

    @property
    def audit(self) -> Audit:
        """What the fake trainings did."""
        return self.training.audit

    @property
    def cluster(self) -> Cluster:
        """The daemons of the cluster."""
        assert self.slurm.cluster is not None
        return self.slurm.cluster

    @property
    def paths(self) -> SweepPaths:
        """The folder of the sweep."""
        return SweepPaths(self.results / self.name)

    @property
    def seeds(self) -> range:
        """The seeds of the runs."""
        return range(1, self.run_count + 1)

    # Commands of a user

    def launch_command(self) -> list[str]:
        """Return the launch command, the same every time."""
        seeds = f"seed={','.join(map(str, self.seeds))}"
        overrides = (f"model={MODEL}", seeds, f"name={self.name}", f"train.epochs={self.epochs}")
        launcher = Launcher(self.slurm, self.folder, self.results, self.folder / "cache")
        container = bare_container(self.folder) if self.container else ()
        return launcher.command("-m", *overrides, MEMORY, *container, *self.overrides)

    def launch(self) -> None:
        """Launch the sweep; raise ``FaultError`` if that fails or a run is in two jobs."""
        done = self.run(*self.launch_command())
        if done.returncode != 0:
            output = f"{done.stdout[-300:]}{done.stderr[-900:]}"
            raise FaultError(f"launch exited with {done.returncode}: {output}")
        self.check_queue()

    def run(
        self, *command: str, timeout: float = TIMEOUT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the user who launches."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def run_slurm(self, *command: str) -> str:
        """Return the output of a real Slurm command, even if ``replace_program`` replaced it."""
        return self.slurm.run(*command, env=os.environ | self.slurm.environment).stdout

    def replace_program(self, name: str, script: str) -> None:
        """Put a program before Slurm's own, for the user and for the jobs."""
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
        self.environ["PATH"] = f"{folder}:{os.environ['PATH']}"

    def environment(self) -> Mapping[str, str]:
        """Return the environment of the user who launches."""
        prefixes = ("SLURM", "SBATCH")
        own = {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}
        return own | self.environ

    # Runs

    @functools.cached_property
    def runs(self) -> dict[int, RunPaths]:
        """The runs by their seeds, once they are launched."""
        runs = [self.paths.run(folder.name) for folder in self.paths.runs.iterdir()]
        return {read_frozen_run(run).config.seed: run for run in runs}

    def record(self, seed: int) -> RunRecord:
        """Return the record of a run."""
        record = read_record(self.runs[seed])
        assert record is not None
        return record

    def epoch(self, seed: int) -> int:
        """Return the last epoch that a run has begun; -1 if it has begun none."""
        audit = self.audit.read(seed)
        return audit[-1]["epoch"] if audit else -1

    def reported_statuses(self) -> dict[str, str]:
        """Return the status of each run in the report, by the names of the runs."""
        with (self.paths.report / "runs.csv").open() as table:
            return {row["run"]: row["status"] for row in csv.DictReader(table)}

    def describe(self, seed: int) -> str:
        """Return the record and the last audit line of a run, for messages."""
        record = self.record(seed)
        attempts = [(one.job_id, one.node, one.failure, one.requeued) for one in record.attempts]
        line = self.audit.read(seed)[-1:]
        return f"{seed} {record.run} {record.status.value} {record.error} {attempts} audit: {line}"

    # Jobs and processes

    def job_ids(self) -> list[str]:
        """Return the newest job of each run as ``squeue`` prints it: ``17_3``."""
        return [str(self.record(seed).job_id) for seed in self.seeds]

    def training_pid(self, seed: int) -> int:
        """Return the process that trained the run last."""
        return int(self.audit.read(seed)[-1]["pid"])

    def job_pids(self, program: str, script: str) -> list[int]:
        """Return the processes of the jobs in which ``program`` (python, bash) runs ``script``."""
        jobs = {f"SLURM_JOB_ID={job}" for job in self._raw_job_ids()}
        return [
            pid
            for pid, command, environment in self._processes()
            if jobs & environment
            and Path(command.split(" ")[0]).name.startswith(program)
            and script in command
        ]

    def slurmstepd_pids(self, step: str) -> list[int]:
        """Return the slurmstepd processes of a step of the jobs."""
        titles = tuple(f"slurmstepd: [{job}.{step}]" for job in self._raw_job_ids())
        return [pid for pid, command, _ in self._processes() if command.startswith(titles)]

    def _raw_job_ids(self) -> list[str]:
        """Return the ``SLURM_JOB_ID`` of the jobs in which the runs trained last."""
        return [str(self.audit.read(seed)[-1]["job"]) for seed in self.seeds]

    def _processes(self) -> Iterator[tuple[int, str, set[str]]]:
        """Yield pid, command line and environment of the processes that the cluster started."""
        for pid, command in commands():
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{pid}/environ").read_text(errors="replace")
                environment = set(text.split("\0"))
                if f"SLURM_CONF={self.cluster.conf}" in environment:
                    yield pid, command, environment

    def slurm_state(self, seed: int) -> tuple[str, str]:
        """Return state and exit code of the run's newest job: ``("FAILED", "1:0")``."""
        shown = self.run_slurm("scontrol", "-o", "show", "job", str(self.record(seed).job_id))
        fields = dict(field.split("=", 1) for field in shown.split() if "=" in field)
        return fields["JobState"], fields["ExitCode"]

    def queue(self) -> dict[str, str]:
        """Return the scripts of the sweep's pending and running jobs, by job id."""
        shown = self.run_slurm("squeue", "-h", "-r", "-o", "%i|%o")
        jobs = dict(line.split("|", 1) for line in shown.splitlines())
        folder = f"{self.paths.slurm}/"
        return {job: script for job, script in jobs.items() if script.startswith(folder)}

    def check_queue(self) -> None:
        """Raise ``FaultError`` if a run is in two pending or running jobs."""
        job_of_run: dict[str, str] = {}
        for job, script in self.queue().items():
            submission = Path(script).parent
            if not (submission / "tasks.json").exists():
                continue
            tasks = read_json(submission / "tasks.json")["tasks"]
            for run in tasks[int(job.partition("_")[2] or 0)]:
                if run in job_of_run:
                    raise FaultError(f"{run} is in two jobs at once: {job_of_run[run]} and {job}")
                job_of_run[run] = job

    # Waiting

    def wait_for(
        self, condition: Callable[[], bool], what: str, seconds: float = TIMEOUT_SECONDS
    ) -> None:
        """Wait until the condition holds; raise ``FaultError`` after so many seconds."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise FaultError(f"waited {seconds:g} s for {what}\n{self._describe_all()}")
            time.sleep(0.1)

    def launch_and_train(self) -> None:
        """Launch, and hold every run in its third epoch until the fault is injected."""
        self.training.hold(2)
        self.launch()

        def reached() -> bool:
            all_reached = all(self.epoch(seed) >= 2 for seed in self.seeds)
            if not all_reached and not self.queue():
                raise FaultError(f"all jobs ended before epoch 2\n{self._describe_all()}")
            return all_reached

        self.wait_for(reached, "epoch 2 of all runs")

    def wait_until_idle(self, seconds: float = TIMEOUT_SECONDS) -> None:
        """Wait until no job of the sweep is pending or running."""
        self.wait_for(lambda: not self.queue(), "the end of all jobs", seconds)

    def _describe_all(self) -> str:
        queue = self.run_slurm("squeue", "-t", "all", "-o", "%.8i %.9P %.8T %.10M %.6D %R %S")
        return "\n".join((queue, *map(self.describe, self.seeds)))


@contextmanager
def throwaway_cluster(nodes: int = 3, *, accounting: bool = False) -> Iterator[Slurm]:
    """Start a cluster that a single fault may break, and stop it afterwards."""
    cluster = Cluster.claim(Size(nodes=nodes), accounting=accounting)
    try:
        cluster.start()
        yield Slurm.throwaway(cluster)
    finally:
        cluster.stop()
