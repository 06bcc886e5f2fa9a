"""A sweep of stand-in trainings on a cluster of its own: launched, watched and looked into."""

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

from tests.faults.standin import MODEL, Control
from tests.slurm.client import Slurm
from tests.slurm.cluster import Cluster
from tests.slurm.configuration import Size
from tests.slurm.launching import Launcher
from tests.slurm.processes import commands
from xray_hpc.records.atomic_files import read_json
from xray_hpc.records.frozen_run import read_frozen_run
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.records.run_record import RunRecord, read_record

PATIENCE = 180
MEMORY = "cluster.mem=250M"


class FaultError(Exception):
    """What should have come out of a fault did not; the message says what came instead."""


@dataclass
class Sweep:
    """``times`` runs of ``epochs`` epochs, of ``seconds`` each; a run is known by its seed.

    ``words`` are added to the launch's command line, ``environ`` to its environment. ``note`` is
    what a fault has to say about what it did.
    """

    slurm: Slurm
    folder: Path
    times: int
    epochs: int = 10
    seconds: float = 0.7
    words: Sequence[str] = ()
    name: str = "faults"
    note: str = ""
    results: Path = field(init=False)
    environ: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.results = self.folder / "results"
        self.control.prepare(seconds=self.seconds, epochs=self.epochs)
        self.environ = dict(self.slurm.environment) | self.control.environment

    @property
    def control(self) -> Control:
        return Control(self.folder / f"control-{self.name}")

    @property
    def cluster(self) -> Cluster:
        assert self.slurm.cluster is not None
        return self.slurm.cluster

    @property
    def paths(self) -> SweepPaths:
        return SweepPaths(self.results / self.name)

    @property
    def seeds(self) -> range:
        return range(1, self.times + 1)

    # What a user does

    def command(self) -> list[str]:
        seeds = f"seed={','.join(map(str, self.seeds))}"
        words = (f"model={MODEL}", seeds, f"name={self.name}", f"train.epochs={self.epochs}")
        launcher = Launcher(self.slurm, self.folder, self.results, self.folder / "cache")
        return launcher.command("-m", *words, MEMORY, *self.words)

    def launch(self) -> str:
        """Launch, with the same command every time; give what it printed."""
        done = self.call(*self.command())
        if done.returncode != 0:
            said = f"{done.stdout[-300:]}{done.stderr[-900:]}"
            raise FaultError(f"launch -> {done.returncode}: {said}")
        self.check_queue()
        return done.stdout

    def call(self, *command: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """Run a command as the user who launches."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def program(self, name: str, script: str) -> None:
        """Put a program before Slurm's own of that name, for the user and for the jobs."""
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
        self.environ["PATH"] = f"{folder}:{os.environ['PATH']}"

    def environment(self) -> Mapping[str, str]:
        kept = {key: v for key, v in os.environ.items() if not key.startswith(("SLURM", "SBATCH"))}
        return kept | self.environ

    # What there is to be seen

    @functools.cached_property
    def runs(self) -> dict[int, RunPaths]:
        """The runs by their seeds, once they are launched."""
        runs = [self.paths.run(folder.name) for folder in self.paths.runs.iterdir()]
        return {read_frozen_run(run).config.seed: run for run in runs}

    def record(self, seed: int) -> RunRecord:
        record = read_record(self.runs[seed])
        assert record is not None
        return record

    def epoch(self, seed: int) -> int:
        """The epoch that a run is in, or was in last; -1 before its first."""
        audit = self.control.audit(seed)
        return audit[-1]["epoch"] if audit else -1

    def tasks(self) -> list[str]:
        """The newest job of each run as a user names it: ``17_3``."""
        return [str(self.record(seed).job_id) for seed in self.seeds]

    def jobs(self) -> list[str]:
        """The jobs in which the runs trained last, as their own environment names them."""
        return [str(self.control.audit(seed)[-1]["job"]) for seed in self.seeds]

    def training(self, seed: int) -> int:
        """The process that trained the run last."""
        return int(self.control.audit(seed)[-1]["pid"])

    def processes(self, program: str, script: str) -> list[int]:
        """The processes of the jobs in which ``program`` (python, bash) runs ``script``."""
        jobs = {f"SLURM_JOB_ID={job}" for job in self.jobs()}
        return [
            pid
            for pid, command, environment in self._processes()
            if jobs & environment
            and Path(command.split(" ")[0]).name.startswith(program)
            and script in command
        ]

    def stepds(self, step: str) -> list[int]:
        """The slurmstepds of a step of the jobs."""
        titles = tuple(f"slurmstepd: [{job}.{step}]" for job in self.jobs())
        return [pid for pid, command, _ in self._processes() if command.startswith(titles)]

    def _processes(self) -> Iterator[tuple[int, str, set[str]]]:
        """Process id, command line and environment of what the cluster started."""
        for pid, command in commands():
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{pid}/environ").read_text(errors="replace")
                environment = set(text.split("\0"))
                if f"SLURM_CONF={self.cluster.conf}" in environment:
                    yield pid, command, environment

    def queue(self) -> dict[str, str]:
        """The scripts of the sweep's jobs that wait or run, by their ids."""
        shown = self.ask("squeue", "-h", "-r", "-o", "%i|%o")
        jobs = dict(line.split("|", 1) for line in shown.splitlines())
        mine = f"{self.paths.slurm}/"
        return {job: script for job, script in jobs.items() if script.startswith(mine)}

    def check_queue(self) -> None:
        """Raise if some run is in two jobs that wait or run."""
        where: dict[str, str] = {}
        for job, script in self.queue().items():
            submission = Path(script).parent
            if not (submission / "tasks.json").exists():
                continue
            tasks = read_json(submission / "tasks.json")["tasks"]
            for run in tasks[int(job.partition("_")[2] or 0)]:
                key = f"{submission.parent.parent.name}/{run}"
                if key in where:
                    raise FaultError(f"{key} is in two jobs at once: {where[key]} and {job}")
                where[key] = job

    def ask(self, *command: str) -> str:
        """What a command of Slurm's prints, whatever the user's PATH holds."""
        return self.slurm.run(*command, env=os.environ | self.slurm.environment).stdout

    def slurm_says(self, seed: int) -> tuple[str, str]:
        """State and exit code of the run's newest job: ``("FAILED", "1:0")``."""
        shown = self.ask("scontrol", "-o", "show", "job", str(self.record(seed).job_id)).split()
        said = dict(word.split("=", 1) for word in shown if "=" in word)
        return said["JobState"], said["ExitCode"]

    def report_says(self) -> dict[str, str]:
        """The status of each run in the report, by the runs' names."""
        with (self.paths.report / "runs.csv").open() as table:
            return {row["run"]: row["status"] for row in csv.DictReader(table)}

    # Waiting

    def until(self, holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise FaultError(f"waited {seconds:g} s for {what}\n{self._shown()}")
            time.sleep(0.1)

    def until_epoch(self, epoch: int) -> None:
        """Wait until every run trains, and is in this epoch or a later one."""

        def reached() -> bool:
            there = all(self.epoch(seed) >= epoch for seed in self.seeds)
            if not there and not self.queue():
                raise FaultError(f"all jobs ended before epoch {epoch}\n{self._shown()}")
            return there

        self.until(reached, f"epoch {epoch} of all")

    def train(self) -> None:
        """Launch, and wait until every run is in its third epoch."""
        self.launch()
        self.until_epoch(2)

    def until_idle(self, seconds: float = PATIENCE) -> None:
        """Wait until no job of the sweep waits or runs."""
        self.until(lambda: not self.queue(), "all jobs to end", seconds)

    def _shown(self) -> str:
        shown = self.ask("squeue", "-t", "all", "-o", "%.8i %.9P %.8T %.10M %.6D %R %S")
        return "\n".join((shown, *map(self.told, self.seeds)))

    def told(self, seed: int) -> str:
        """What a run's record and audit say, in a line."""
        record = self.record(seed)
        attempts = [(one.job_id, one.node, one.failure, one.requeued) for one in record.attempts]
        line = self.control.audit(seed)[-1:]
        return f"{seed} {record.run} {record.status.value} {record.error} {attempts} audit: {line}"


@contextmanager
def throwaway(nodes: int = 3, *, accounting: bool = False) -> Iterator[Slurm]:
    """A cluster for one fault alone, which may do to it what it likes."""
    cluster = Cluster.claim(Size(nodes=nodes), accounting=accounting)
    try:
        cluster.start()
        yield Slurm.throwaway(cluster)
    finally:
        cluster.stop()
