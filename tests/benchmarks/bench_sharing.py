"""Compare computing cached features in a job before the runs and in the first run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import dataset_subset
from tests.benchmarks.markdown_table import SPREAD, Table, spread
from tests.benchmarks.timing import REPOSITORY, log_progress, run_python
from tests.benchmarks.training_methods import Task, launch_arguments

IMAGES, SIZE, EPOCHS = 400, 224, 10
SWEEPS = {
    "`tl`, two learning rates: one feature extractor": (
        "model=tl",
        "train.learning_rate=3e-4,1e-3",
    ),
    "`tl` and `ft` 13: two feature extractors": ("model=tl,ft", "model.unfreeze=13"),
}
RUNS = 2
COLUMNS = ("sweep", "method", f"wall s: {SPREAD}", f"core-s allocated: {SPREAD}")


@dataclass(frozen=True)
class CoreSeconds:
    """Wall-clock seconds, and allocated core seconds of all processes."""

    wall: float
    cores: float


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """Yield one table: both methods, for runs that start at the same time."""
    whole = dataset_subset.find_dataset(folder, IMAGES * 5 // 4)
    part = dataset_subset.make_subset(whole, IMAGES, folder)
    task = Task(part, SIZE, EPOCHS, "mobilenet_v2", whole.weights)
    table = Table(
        "Computing cached features in a job or in the first run",
        f"{RUNS} runs of {EPOCHS} epochs, MobileNetV2 on {part} images of {whole.name} at {SIZE} "
        "px, each a process on its own core, as with Slurm. Either all start at the same time and "
        "the first one to take a lock computes the cached features, or they start after a job on "
        "one core that computes all features in one pass. Queue time is excluded.",
        COLUMNS,
    )
    for i, (sweep, overrides) in enumerate(SWEEPS.items()):
        place = folder / f"sharing-{i}"
        run_python(
            "-m",
            "xray_hpc.launch",
            "-m",
            *launch_arguments(task, place),
            *overrides,
            "cluster=none",
        )
        run_python("jobs/stage.py", *map(str, (place / "sweep" / "runs").iterdir()))
        table.rows += _rows(sweep, place, repeat)
    yield table


def _rows(sweep: str, place: Path, repeat: int) -> Iterator[Sequence[str]]:
    runs, new = place / "sweep" / "runs", place / "new"
    runs.rename(new)
    for method, call in METHODS.items():
        samples = []
        for _ in range(repeat):
            log_progress(f"{sweep}, {method}")
            shutil.rmtree(runs, ignore_errors=True)
            shutil.copytree(new, runs)
            for file in (place / "cache").glob("features-*"):
                file.unlink()
            samples.append(call(sorted(runs.iterdir())))
        yield sweep, method, spread(s.wall for s in samples), spread(s.cores for s in samples)


def under_a_lock(runs: Sequence[Path]) -> CoreSeconds:
    """Start all runs at the same time."""
    return _run_on_cores([("-m", "xray_hpc.training", str(run)) for run in runs])


def before_the_runs(runs: Sequence[Path]) -> CoreSeconds:
    """Compute the cached features first."""
    first = _run_on_cores([("jobs/features.py", *map(str, runs))])
    others = under_a_lock(runs)
    return CoreSeconds(first.wall + others.wall, first.cores + others.cores)


METHODS: Mapping[str, Callable[[Sequence[Path]], CoreSeconds]] = {
    "the first run, under a lock": under_a_lock,
    "a job before the runs": before_the_runs,
}


def _run_on_cores(commands: Sequence[Sequence[str]]) -> CoreSeconds:
    """Run Python commands concurrently, each bound to one core; return the cost."""
    cores, start = sorted(os.sched_getaffinity(0)), time.monotonic()
    running = []
    for i, arguments in enumerate(commands):
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env=os.environ | {"XRAY_HPC_CPUS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.sched_setaffinity(process.pid, {cores[i % len(cores)]})
        running.append(process)
    allocated = 0.0
    while running:
        time.sleep(0.05)
        for process in [process for process in running if process.poll() is not None]:
            if process.returncode != 0:
                raise RuntimeError(f"{process.args} -> {process.returncode}")
            allocated += time.monotonic() - start
            running.remove(process)
    return CoreSeconds(time.monotonic() - start, allocated)
