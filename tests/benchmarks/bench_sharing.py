"""Who computes the cached features: a job before the runs, or the first run that needs them."""

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
from tests.benchmarks.timing import REPOSITORY, progress, python
from tests.benchmarks.training_methods import Task, words_of

IMAGES, SIZE, EPOCHS = 400, 224, 10
SWEEPS = {
    "`tl`, two learning rates: one feature extractor": (
        "model=tl",
        "train.learning_rate=3e-4,1e-3",
    ),
    "`tl` and `ft` 13: two feature extractors": ("model=tl,ft", "model.unfreeze=13"),
}
RUNS = 2
COLUMNS = ("sweep", "way", f"s to the end: {SPREAD}", f"s that cores are held: {SPREAD}")


@dataclass(frozen=True)
class Held:
    """Seconds until all was done, and how long processes held a core, added up."""

    wall: float
    cores: float


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """One table: both ways, for runs that start at once."""
    whole = dataset_subset.source(folder, IMAGES * 5 // 4)
    part = dataset_subset.part(whole, IMAGES, folder)
    task = Task(part, SIZE, EPOCHS, "mobilenet_v2", whole.weights)
    table = Table(
        "A job for the feature extractor, or the first run that needs it",
        f"{RUNS} runs of {EPOCHS} epochs, MobileNetV2 on {part} images of {whole.name} at {SIZE} "
        "px, as Slurm would start them: each is a process on a core of its own. Either all start "
        "at once, and whoever takes a lock first computes the cached features; or behind a job, on "
        "one core, that computes all of them in one pass. To wait in a queue is left out.",
        COLUMNS,
    )
    for i, (sweep, words) in enumerate(SWEEPS.items()):
        place = folder / f"sharing-{i}"
        python("-m", "xray_hpc.launch", "-m", *words_of(task, place), *words, "cluster=none")
        python("jobs/stage.py", *map(str, (place / "sweep" / "runs").iterdir()))
        table.rows += _rows(sweep, place, repeat)
    yield table


def _rows(sweep: str, place: Path, repeat: int) -> Iterator[Sequence[str]]:
    runs, new = place / "sweep" / "runs", place / "new"
    runs.rename(new)
    for way, call in WAYS.items():
        samples = []
        for _ in range(repeat):
            progress(f"{sweep}, {way}")
            shutil.rmtree(runs, ignore_errors=True)
            shutil.copytree(new, runs)
            for file in (place / "cache").glob("features-*"):
                file.unlink()
            samples.append(call(sorted(runs.iterdir())))
        yield sweep, way, spread(s.wall for s in samples), spread(s.cores for s in samples)


def under_a_lock(runs: Sequence[Path]) -> Held:
    """All at once."""
    return _together([("-m", "xray_hpc.training", str(run)) for run in runs])


def before_the_runs(runs: Sequence[Path]) -> Held:
    """What their feature extractors give first."""
    first = _together([("jobs/features.py", *map(str, runs))])
    others = under_a_lock(runs)
    return Held(first.wall + others.wall, first.cores + others.cores)


WAYS: Mapping[str, Callable[[Sequence[Path]], Held]] = {
    "the first run, under a lock": under_a_lock,
    "a job before the runs": before_the_runs,
}


def _together(commands: Sequence[Sequence[str]]) -> Held:
    """Run Python with these words, each on a core of its own where there are so many."""
    cores, began = sorted(os.sched_getaffinity(0)), time.monotonic()
    going = []
    for i, words in enumerate(commands):
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=REPOSITORY,
            env=os.environ | {"XRAY_HPC_CPUS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.sched_setaffinity(process.pid, {cores[i % len(cores)]})
        going.append(process)
    held = 0.0
    while going:
        time.sleep(0.05)
        for process in [process for process in going if process.poll() is not None]:
            if process.returncode != 0:
                raise RuntimeError(f"{process.args} -> {process.returncode}")
            held += time.monotonic() - began
            going.remove(process)
    return Held(time.monotonic() - began, held)
