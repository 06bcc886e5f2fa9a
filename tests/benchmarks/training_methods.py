"""The same trainings in two ways: by the toolkit, with all it does, and as the tutorial does."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.dataset_subset import Part
from tests.benchmarks.process_monitor import Spent, measure_process
from xray_hpc.records.atomic_files import read_json
from xray_hpc.records.frozen_run import read_frozen_run
from xray_hpc.records.paths import RunPaths, SweepPaths

BACKBONES = {"mobilenet_v2": "MobileNetV2", "resnet152v2": "ResNet152V2"}
KINDS = {
    "stage.py": "staging",
    "features.py": "features",
    "xray_hpc.training": "training",
    "run.py": "watching",
    "xray_hpc.collect": "report",
    "xray_hpc.launch": "launching",
}
_numbers = itertools.count()


@dataclass(frozen=True)
class Task:
    """What both ways train on, and for how long."""

    part: Part
    size: int
    epochs: int
    backbone: str
    weights: Path | None


@dataclass(frozen=True)
class Training:
    """One run of a sweep."""

    model: str
    learning_rate: float
    unfreeze: int = 0

    def __str__(self) -> str:
        return f"{self.model} {self.unfreeze}" if self.unfreeze else self.model


@dataclass(frozen=True)
class Run:
    """Test AUC, and how many views of a training image there were (``per_epoch``: new in each)."""

    auc: float
    views: int | str


@dataclass(frozen=True)
class Ours:
    """What a launch took, and its runs."""

    spent: Spent
    runs: Mapping[Training, Run]


@dataclass(frozen=True)
class Theirs:
    """What one process took for several trainings, and what it says of each (``tutorial.Spent``).

    ``start`` are the CPU seconds until the first one: importing, listing the files.
    """

    spent: Spent
    start: float
    trainings: Mapping[Training, Mapping[str, Any]]

    def cpu(self, training: Training) -> float:
        """CPU seconds of one of them."""
        return sum(self.trainings[training]["stages"].values())

    def computed(self, training: Training, epochs: int, share: float) -> float:
        """CPU seconds of one of them had it had so many epochs, and ``share`` times the images.

        Epochs and passes over the images are counted as the mean of those behind the first, in
        which graphs are traced; that, and building, are counted as they were.
        """
        spent = self.trainings[training]
        fitting, epoch = steady(spent["epochs"])
        evaluating, once = steady(spent["passes"])
        each = epochs * epoch + len(spent["passes"]) * once
        return float(spent["stages"]["build"] + fitting + evaluating + share * each)


def steady(sums: Sequence[float]) -> tuple[float, float]:
    """What ``sums`` over 1, 2, ... pieces have in them once, and for each piece behind the first.

    The first piece may take longer; by how much is in what they have once.
    """
    each = (sums[-1] - sums[0]) / (len(sums) - 1)
    return sums[0] - each, each


def ours(task: Task, words: Sequence[str], folder: Path) -> Ours:
    """Launch ``words`` on this machine, with nothing cached; every epoch is trained."""
    place = folder / f"ours-{next(_numbers)}"
    spent = measure_process(
        ["-m", "xray_hpc.launch", "-m", *words_of(task, place), "cluster=local", *words], KINDS
    )
    runs = SweepPaths(place / "sweep").runs.iterdir()
    return Ours(spent, dict(map(_read, map(RunPaths, runs))))


def words_of(task: Task, place: Path) -> Iterator[str]:
    """What a launch into ``place`` is told: the tutorial's settings, on the same files."""
    yield "experiment=larcc"
    yield from ("data=folder", f"data.root={task.part.root}", "data.split=folder")
    yield f"data.image_size={task.size}"
    yield from (f"model.backbone={task.backbone}", f"model.weights={task.weights or 'none'}")
    yield "model.preprocessing=unit"
    yield from (f"train.epochs={task.epochs}", f"train.early_stopping.patience={task.epochs}")
    yield from (f"results={place}", f"cache={place}/cache", "name=sweep")


def _read(run: RunPaths) -> tuple[Training, Run]:
    config, metrics = read_frozen_run(run).config, read_json(run.metrics)
    if metrics["epochs"] != config.train.epochs:
        raise RuntimeError(f"{run.name} trained for {metrics['epochs']} epochs only")
    training = Training(config.model.name, config.train.learning_rate, config.model.unfreeze or 0)
    return training, Run(metrics["test"]["auc"], config.augment.views or "per_epoch")


def theirs(task: Task, epochs: int, trainings: Sequence[Training], folder: Path) -> Theirs:
    """Train them for so many epochs, one after another in one process."""
    place = folder / f"theirs-{next(_numbers)}"
    place.mkdir()
    settings = {
        "root": str(task.part.root),
        "size": task.size,
        "epochs": epochs,
        "backbone": BACKBONES[task.backbone],
        "weights": task.weights and str(task.weights),
        "trainings": [vars(training) for training in trainings],
    }
    (place / "settings.json").write_text(json.dumps(settings))
    words = [
        "-m",
        "tests.benchmarks.tutorial_training",
        *(str(place / name) for name in ("settings.json", "spent.json")),
    ]
    spent = measure_process(words, {"tests.benchmarks.tutorial_training": "tutorial"})
    said = json.loads((place / "spent.json").read_text())
    return Theirs(spent, said["start"], dict(zip(trainings, said["trainings"], strict=True)))
