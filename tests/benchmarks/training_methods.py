"""Run the same trainings with the toolkit and as in the tutorial."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.dataset_subset import DatasetSubset
from tests.benchmarks.process_monitor import ResourceUse, measure_process
from xray_hpc.records.atomic_files import read_json
from xray_hpc.records.frozen_run import read_frozen_run
from xray_hpc.records.paths import RunPaths, SweepPaths

BACKBONES = {"mobilenet_v2": "MobileNetV2", "resnet152v2": "ResNet152V2"}
KINDS = {
    "stage.py": "staging",
    "features.py": "features",
    "xray_hpc.training": "training",
    "run.py": "worker",
    "xray_hpc.collect": "report",
    "xray_hpc.launch": "launching",
}
_numbers = itertools.count()


@dataclass(frozen=True)
class Task:
    """The data and settings of a training in both methods."""

    subset: DatasetSubset
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
    """The test AUC, and the views per training image (``per_epoch``: new in each epoch)."""

    auc: float
    views: int | str


@dataclass(frozen=True)
class ToolkitResult:
    """The resources of a launch, and its runs."""

    usage: ResourceUse
    runs: Mapping[Training, Run]


@dataclass(frozen=True)
class TutorialResult:
    """The resources of one process with several trainings.

    Attributes:
        usage: resources of the process.
        start: CPU seconds before the first training, to import and to list files.
        trainings: the values of ``tutorial_training.StageTimes`` of each training.
    """

    usage: ResourceUse
    start: float
    trainings: Mapping[Training, Mapping[str, Any]]

    def cpu(self, training: Training) -> float:
        """Return the CPU seconds of a training."""
        return sum(self.trainings[training]["stages"].values())

    def computed(self, training: Training, epochs: int, share: float) -> float:
        """Compute the CPU seconds of a training with other numbers of epochs and images.

        An epoch and a pass over the images cost the mean of all but the first, which traces
        graphs. Tracing and building the model are counted once.

        Args:
            training: the measured training.
            epochs: number of epochs.
            share: number of images relative to the measured training.
        """
        times = self.trainings[training]
        fit_overhead, epoch = overhead_and_slope(times["epochs"])
        evaluation_overhead, image_pass = overhead_and_slope(times["passes"])
        scaled = epochs * epoch + len(times["passes"]) * image_pass
        return float(times["stages"]["build"] + fit_overhead + evaluation_overhead + share * scaled)


def overhead_and_slope(sums: Sequence[float]) -> tuple[float, float]:
    """Split cumulative times of 1, 2, ... items into a fixed overhead and a time per item.

    The overhead includes the additional time of the first item.
    """
    each = (sums[-1] - sums[0]) / (len(sums) - 1)
    return sums[0] - each, each


def train_with_toolkit(task: Task, overrides: Sequence[str], folder: Path) -> ToolkitResult:
    """Launch a sweep on this machine with an empty cache and without early stopping."""
    place = folder / f"ours-{next(_numbers)}"
    usage = measure_process(
        [
            "-m",
            "xray_hpc.launch",
            "-m",
            *launch_arguments(task, place),
            "cluster=local",
            *overrides,
        ],
        KINDS,
    )
    runs = SweepPaths(place / "sweep").runs.iterdir()
    return ToolkitResult(usage, dict(map(_read, map(RunPaths, runs))))


def launch_arguments(task: Task, place: Path) -> Iterator[str]:
    """Yield arguments of a launch into ``place`` with the tutorial's settings and files."""
    yield "experiment=larcc"
    yield from ("data=folder", f"data.root={task.subset.root}", "data.split=folder")
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


def train_like_tutorial(
    task: Task, epochs: int, trainings: Sequence[Training], folder: Path
) -> TutorialResult:
    """Train one after another in one process."""
    place = folder / f"theirs-{next(_numbers)}"
    place.mkdir()
    settings = {
        "root": str(task.subset.root),
        "size": task.size,
        "epochs": epochs,
        "backbone": BACKBONES[task.backbone],
        "weights": task.weights and str(task.weights),
        "trainings": [vars(training) for training in trainings],
    }
    (place / "settings.json").write_text(json.dumps(settings))
    command = [
        "-m",
        "tests.benchmarks.tutorial_training",
        *(str(place / name) for name in ("settings.json", "times.json")),
    ]
    usage = measure_process(command, {"tests.benchmarks.tutorial_training": "tutorial"})
    times = json.loads((place / "times.json").read_text())
    return TutorialResult(
        usage, times["start"], dict(zip(trainings, times["trainings"], strict=True))
    )
