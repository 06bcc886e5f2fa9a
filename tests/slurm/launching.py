"""Launching sweeps of tiny, real trainings from a test."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.slurm.client import Slurm
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_record import RunRecord, read_record

# One run takes some 15 s of a CPU, most of it the start of TensorFlow.
TINY = ("data.demo_images=40", "data.image_size=32", "train.epochs=1", "train.batch_size=8")
SMALL_JOBS = (
    "cluster.gpus=0",
    "cluster.cpus=1",
    "cluster.mem=2G",
    "cluster.time=30",
    "cluster.cpu_job.cpus=1",
    "cluster.cpu_job.mem=2G",
    "cluster.cpu_job.time=30",
)
# Submitted, but not started before `scontrol release`.
HELD = "cluster.extra={hold: true}"
# For the busiest of machines.
PATIENCE = 400


def quoted(value: str | Path) -> str:
    """A value as Hydra's command line wants it when it holds spaces, quotes or the like."""
    return "'" + str(value).replace("'", "\\'") + "'"


@dataclass(frozen=True)
class Launch:
    """What a launch printed, and what it says that it submitted."""

    code: int
    output: str
    errors: str

    @property
    def array(self) -> str:
        return self._job(r"^submitted job (\d+):")

    @property
    def stage(self) -> str:
        return self._job(r"stage job (\d+) first")

    @property
    def features(self) -> str:
        return self._job(r"features job (\d+) second")

    @property
    def collect(self) -> str:
        return self._job(r"collect job (\d+) last")

    def decision(self, run: str) -> str:
        """What it says about a run: ``run: new``, ``leave: finished``, without its overrides."""
        found = re.search(rf"^  {run}  (.*?)(  \(\S+=.*\))?$", self.output, re.MULTILINE)
        assert found, f"nothing on {run} in {self.output}"
        return found[1]

    def _job(self, pattern: str) -> str:
        found = re.search(pattern, self.output, re.MULTILINE)
        assert found, f"no {pattern} in {self.output}"
        return found[1]


@dataclass(frozen=True)
class Launcher:
    """Launches from ``folder``, into ``results``."""

    slurm: Slurm
    folder: Path
    results: Path
    cache: Path

    def sweep(self, name: str) -> SweepPaths:
        return SweepPaths(self.results / name)

    def places(self) -> list[str]:
        """The overrides that say where runs and their files go."""
        words = [f"results={quoted(self.results)}", f"cache={quoted(self.cache)}"]
        if self.slurm.partition:
            words.append(f"cluster.partition={quoted(self.slurm.partition)}")
        return words

    def command(self, *words: str) -> list[str]:
        """The command line that launches: the tiny defaults, and ``words``, which win."""
        ours = {word.split("=")[0]: word for word in (*TINY, *SMALL_JOBS, *self.places())}
        theirs = {word.split("=")[0] for word in words}
        kept = [word for key, word in ours.items() if key not in theirs]
        return [sys.executable, "-m", "xray_hpc.launch", *words, *kept]

    def launch(
        self, *words: str, before: Sequence[str] = (), environ: Mapping[str, str] | None = None
    ) -> Launch:
        """Launch; ``before`` stands before the command (``srun ...``)."""
        return self._run([*before, *self.command(*words)], environ)

    def launch_bare(self, *words: str) -> Launch:
        """Launch with no words but these."""
        return self._run([sys.executable, "-m", "xray_hpc.launch", *words], None)

    def _run(self, command: Sequence[str], environ: Mapping[str, str] | None) -> Launch:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return Launch(done.returncode, done.stdout, done.stderr)


def record(sweep: SweepPaths, run: str) -> RunRecord:
    """The run's record, which must be there."""
    found = read_record(sweep.run(run))
    assert found is not None
    return found


def run_of(sweep: SweepPaths, model: str) -> str:
    """The name of the sweep's one run of a model."""
    (folder,) = sweep.runs.glob(f"{model}-*")
    return folder.name
