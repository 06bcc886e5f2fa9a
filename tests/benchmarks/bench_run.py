"""What a training process spends its time on besides its steps."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.benchmarks import dataset_subset
from tests.benchmarks.markdown_table import Table, number
from tests.benchmarks.run_phases import ALL, FIRST, IMPORTS, OTHERS, PARTS, REST
from tests.benchmarks.timing import progress, python
from tests.benchmarks.training_methods import Task, words_of

IMAGES, SIZE, EPOCHS = 400, 224, 10
RUNS = {"tl": ["model=tl"], "ft 13": ["model=ft", "model.unfreeze=13"]}
ROWS = (IMPORTS, *dict.fromkeys(PARTS.values()), FIRST, OTHERS, REST, ALL)


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """One table: the parts of a transfer learning and of a fine-tuning."""
    whole, place = dataset_subset.source(folder, IMAGES * 5 // 4), folder / "running"
    place.mkdir()
    part = dataset_subset.part(whole, IMAGES, place)
    task = Task(part, SIZE, EPOCHS, "mobilenet_v2", whole.weights)
    found = {run: _parts(task, words, place / run, repeat) for run, words in RUNS.items()}
    table = Table(
        "What a run takes besides its steps",
        f"CPU seconds of a training process (medians of {repeat}): {EPOCHS} epochs of MobileNetV2 "
        f"on {part} images of {whole.name}, at {SIZE} px. What its feature extractor gives is kept "
        "already.",
        ("part", *RUNS),
    )
    for row in ROWS:
        table.rows.append((row, *(number(spent[row]) for spent in found.values())))
    yield table


def _parts(task: Task, words: list[str], place: Path, repeat: int) -> Mapping[str, float]:
    progress(f"a run, {' '.join(words)}")
    said = [*words_of(task, place), *words, "cluster=none"]
    python("-m", "xray_hpc.launch", "-m", *said)
    (run,) = (place / "sweep" / "runs").iterdir()
    new = shutil.copytree(run, place / "new")
    python("-m", "xray_hpc.training", str(run))  # computes the feature extractor
    file = place / "spent.json"
    samples = []
    for _ in range(repeat):
        shutil.rmtree(run)
        shutil.copytree(new, run)
        python("-m", "tests.benchmarks.run_phases", str(run), str(file))
        samples.append(json.loads(file.read_text()))
    return {row: statistics.median(sample[row] for sample in samples) for row in ROWS}
