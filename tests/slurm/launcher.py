"""Launch sweeps of tiny, real trainings from a test."""

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

# A run takes about 15 CPU seconds, most of them to start TensorFlow.
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
# The jobs start only after `scontrol release`.
HELD = "cluster.extra={hold: true}"
# Enough for a busy machine.
TIMEOUT_SECONDS = 400


def quoted(value: str | Path) -> str:
    """Quote a value for Hydra's command line."""
    return "'" + str(value).replace("'", "\\'") + "'"


@dataclass(frozen=True)
class Launch:
    """The result of a launch: its exit code, its output, and the job ids in it."""

    code: int
    output: str
    errors: str

    @property
    def array(self) -> str:
        return self._find(r"^submitted job (\d+):")

    @property
    def stage(self) -> str:
        return self._find(r"stage job (\d+) first")

    @property
    def features(self) -> str:
        return self._find(r"features job (\d+) second")

    @property
    def collect(self) -> str:
        return self._find(r"collect job (\d+) last")

    def decision(self, run: str) -> str:
        """Return the decision printed for a run: ``start: new``, ``skip: finished``."""
        return self._find(rf"^  {run}  (.*?)(  \(\S+=.*\))?  learning rate \S+$")

    def _find(self, pattern: str) -> str:
        found = re.search(pattern, self.output, re.MULTILINE)
        assert found, f"no {pattern} in {self.output}"
        return found[1]


@dataclass(frozen=True)
class Launcher:
    """Launches sweeps from ``folder`` into ``results``."""

    slurm: Slurm
    folder: Path
    results: Path
    cache: Path

    def sweep(self, name: str) -> SweepPaths:
        return SweepPaths(self.results / name)

    def settings(self) -> list[str]:
        """Return the overrides for the results, the cache and the partition."""
        words = [f"results={quoted(self.results)}", f"cache={quoted(self.cache)}"]
        if self.slurm.partition:
            words.append(f"cluster.partition={quoted(self.slurm.partition)}")
        return words

    def command(self, *words: str) -> list[str]:
        """Return the command line of a launch with the tiny defaults, overridden by ``words``."""
        defaults = {word.split("=")[0]: word for word in (*TINY, *SMALL_JOBS, *self.settings())}
        given = {word.split("=")[0] for word in words}
        rest = [word for key, word in defaults.items() if key not in given]
        return [sys.executable, "-m", "xray_hpc.launch", *words, *rest]

    def launch(
        self, *words: str, before: Sequence[str] = (), environ: Mapping[str, str] | None = None
    ) -> Launch:
        """Launch with the defaults; ``before`` is a prefix of the command (``srun ...``)."""
        return self._run([*before, *self.command(*words)], environ)

    def launch_without_defaults(self, *words: str) -> Launch:
        """Launch with these arguments only."""
        return self._run([sys.executable, "-m", "xray_hpc.launch", *words], None)

    def _run(self, command: Sequence[str], environ: Mapping[str, str] | None) -> Launch:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
        return Launch(done.returncode, done.stdout, done.stderr)


def record(sweep: SweepPaths, run: str) -> RunRecord:
    """Read the record of a run, which must exist."""
    found = read_record(sweep.run(run))
    assert found is not None
    return found


def run_name(sweep: SweepPaths, model: str) -> str:
    """Return the name of the sweep's only run of a model."""
    (folder,) = sweep.runs.glob(f"{model}-*")
    return folder.name
