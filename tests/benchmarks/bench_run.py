"""Measure the phases of a training process."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.benchmarks import dataset_subset
from tests.benchmarks.markdown_table import Table, number
from tests.benchmarks.run_phases import ALL, FIRST, IMPORTS, OTHERS, PHASES, REST
from tests.benchmarks.timing import log_progress, run_python
from tests.benchmarks.training_methods import Task, launch_arguments

IMAGES, SIZE, EPOCHS = 400, 224, 10
RUNS = {"tl": ["model=tl"], "ft 13": ["model=ft", "model.unfreeze=13"]}
ROWS = (IMPORTS, *dict.fromkeys(PHASES.values()), FIRST, OTHERS, REST, ALL)


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """Yield one table: the phases of a transfer-learning and of a fine-tuning run."""
    whole, place = dataset_subset.find_dataset(folder, IMAGES * 5 // 4), folder / "running"
    place.mkdir()
    part = dataset_subset.make_subset(whole, IMAGES, place)
    task = Task(part, SIZE, EPOCHS, "mobilenet_v2", whole.weights)
    phases = {run: _phases(task, overrides, place / run, repeat) for run, overrides in RUNS.items()}
    table = Table(
        "Phases of a run",
        f"CPU seconds of a training process (medians of {repeat}): {EPOCHS} epochs of MobileNetV2 "
        f"on {part} images of {whole.name}, at {SIZE} px. The features "
        "are cached already.",
        ("phase", *RUNS),
    )
    for row in ROWS:
        table.rows.append((row, *(number(seconds[row]) for seconds in phases.values())))
    yield table


def _phases(task: Task, overrides: list[str], place: Path, repeat: int) -> Mapping[str, float]:
    log_progress(f"a run, {' '.join(overrides)}")
    run_python(
        "-m", "xray_hpc.launch", "-m", *launch_arguments(task, place), *overrides, "cluster=none"
    )
    (run,) = (place / "sweep" / "runs").iterdir()
    new = shutil.copytree(run, place / "new")
    run_python("-m", "xray_hpc.training", str(run))  # computes the cached features
    file = place / "phases.json"
    samples = []
    for _ in range(repeat):
        shutil.rmtree(run)
        shutil.copytree(new, run)
        run_python("-m", "tests.benchmarks.run_phases", str(run), str(file))
        samples.append(json.loads(file.read_text()))
    return {row: statistics.median(sample[row] for sample in samples) for row in ROWS}
