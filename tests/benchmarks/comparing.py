"""The tutorial's own way beside the toolkit's, on the same images: cost, memory and answer."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import parts
from measuring import progress
from table import Table, number
from ways import Ours, Task, Theirs, Training, ours, theirs

SIZE, EPOCHS = 224, 10
RATES = (1e-4, 3e-4, 1e-3)
RATE = RATES[1]
CNN = Training("cnn", RATE)
RUNS = (Training("tl", RATE), Training("ft", RATE, 2), Training("ft", RATE, 13))
SWEEP = (
    *("model=tl,ft", "model.unfreeze=2,13"),
    f"train.learning_rate={','.join(f'{rate:g}' for rate in RATES)}",
)
MEASURED = "measured"
STAGES = ("build", "train", "validate", "evaluate")
OWN = ("launching", "staging", "training", "watching", "report")


@dataclass(frozen=True)
class Case:
    """A backbone, on how many images, and how many epochs of the tutorial's way are waited for."""

    title: str
    backbone: str
    images: int
    alone: Sequence[Training]
    epochs: int


CASES = (
    Case("MobileNetV2", "mobilenet_v2", 400, (CNN, RUNS[0], RUNS[2]), EPOCHS),
    Case("ResNet152V2, random weights", "resnet152v2", 100, (), 3),
)


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """Three tables a backbone: in all, by stage, and what both ways answer. Measured once."""
    whole = parts.source(folder)
    for case in CASES:
        part = parts.part(whole, case.images, folder)
        weights = whole.weights if case.backbone == "mobilenet_v2" else None
        task = Task(part, SIZE, EPOCHS, case.backbone, weights)
        yield from compared(case, task, whole.name, folder)


def compared(case: Case, task: Task, name: str, folder: Path) -> Iterator[Table]:
    """Train in both ways, in turn."""
    tutorial: dict[Training, Theirs] = {}
    alone: dict[Training, Ours] = {}
    for training in dict.fromkeys((*case.alone, *RUNS)):
        progress(f"{case.title}: {training} as the tutorial does")
        tutorial[training] = theirs(task, case.epochs, [training], folder)
        if training in case.alone:
            progress(f"{case.title}: {training}")
            alone[training] = ours(task, words(training), folder)
    progress(f"{case.title}: the sweep")
    sweep = ours(task, SWEEP, folder)
    yield in_all(case, task, name, tutorial, alone, sweep)
    yield by_stage(case, tutorial, alone, sweep)
    yield answers(case, task, tutorial, alone, sweep)


def words(training: Training) -> list[str]:
    """What a launch is told of a training."""
    depth = [f"model.unfreeze={training.unfreeze}"] if training.unfreeze else []
    return [f"model={training.model}", f"train.learning_rate={training.learning_rate}", *depth]


def at_length(way: Theirs, epochs: int) -> float:
    """CPU seconds of a training with more epochs than it had, each like the mean of its later."""
    (spent,) = way.trainings.values()
    done = spent["epochs"]
    each = (done[-1] - done[0]) / (len(done) - 1)
    return way.spent.cpu + each * (epochs - len(done))


def in_all(
    case: Case,
    task: Task,
    name: str,
    tutorial: Mapping[Training, Theirs],
    alone: Mapping[Training, Ours],
    sweep: Ours,
) -> Table:
    """Both ways of each training, and of the sweep."""
    short = case.epochs < task.epochs
    table = Table(
        f"The tutorial's way and ours: {case.title}",
        f"{task.part} images of {name.split(',')[0]} at {task.size} px, {task.epochs} epochs, "
        "learning rate and weights alike; both scale to 0..1, zoom and shift, stop early and "
        "lower the rate as the tutorial does (with a patience as long as the training, so that "
        "all epochs are trained). `tutorial`: `tests/benchmarks/tutorial.py`, in one process. "
        "`ours`: `python -m xray_hpc.launch -m ... cluster=local` and all that it starts, from an "
        "empty cache to the report. Memory is the most that all processes had resident at once. "
        f"The sweep has {len(RUNS) * len(RATES)} runs: `tl`, and `ft` with the last 2 and 13 "
        f"layers unfrozen, at {len(RATES)} learning rates.",
        ("training", "way", "how", "CPU-s", "wall s", "GB", "times less CPU"),
    )
    cost = {training: at_length(way, task.epochs) for training, way in tutorial.items()}
    how = f"computed from {case.epochs} epochs" if short else MEASURED
    for training, way in tutorial.items():
        spent = way.spent
        seen = ["", number(spent.peak / 1e9)] if short else _seen(spent.wall, spent.peak)
        table.rows.append((str(training), "tutorial", how, number(cost[training]), *seen, ""))
        if training in alone:
            own = alone[training].spent
            ratio = number(cost[training] / own.cpu)
            seen = _seen(own.wall, own.peak)
            table.rows.append((str(training), "ours", MEASURED, number(own.cpu), *seen, ratio))
    start = statistics.median(tutorial[training].start for training in RUNS)
    every = start + len(RATES) * sum(cost[training] - tutorial[training].start for training in RUNS)
    own = sweep.spent
    table.rows += [
        ("sweep", "tutorial", "computed from three runs", number(every), "", "", ""),
        (
            *("sweep", "ours", MEASURED, number(own.cpu)),
            *(*_seen(own.wall, own.peak), number(every / own.cpu)),
        ),
    ]
    table.remarks.append(
        f"Of the tutorial's sweep the runs at learning rate {RATE:g} were trained, which are the "
        "rows above it; a run costs the same at the others. Computed for it: one start of Python "
        f"and {len(RATES)} times each of these runs."
    )
    if short:
        table.remarks.append(
            f"The tutorial's way was trained for {case.epochs} epochs; the others are counted as "
            f"the mean of those after the first."
        )
    return table


def _seen(wall: float, peak: int) -> list[str]:
    return [number(wall), number(peak / 1e9)]


def by_stage(
    case: Case, tutorial: Mapping[Training, Theirs], alone: Mapping[Training, Ours], sweep: Ours
) -> Table:
    """Where the time goes in each way."""
    table = Table(
        f"By stage: {case.title}",
        "CPU seconds, as measured. Of the tutorial's way: start and imports; building; training, "
        "with decoding and augmenting; validating in `fit`; evaluating, four passes over "
        "validation and test images. Of ours by the kind of process, of which the last tenth of "
        "a second is not seen.",
        ("training", "way", "stages"),
    )
    for training, way in tutorial.items():
        (spent,) = way.trainings.values()
        stages = {"start": way.start} | {stage: spent["stages"][stage] for stage in STAGES}
        epochs = f"tutorial, {len(spent['epochs'])} epochs"
        table.rows.append((str(training), epochs, _listed(stages)))
    for what, own in {**{str(t): run for t, run in alone.items()}, "sweep": sweep}.items():
        kinds = own.spent.kinds
        stages = {kind: kinds[kind] for kind in OWN if kind in kinds}
        table.rows.append((what, "ours", _listed(stages)))
    return table


def _listed(stages: Mapping[str, float]) -> str:
    return ", ".join(f"{stage} {number(seconds)}" for stage, seconds in stages.items())


def answers(
    case: Case,
    task: Task,
    tutorial: Mapping[Training, Theirs],
    alone: Mapping[Training, Ours],
    sweep: Ours,
) -> Table:
    """The AUC of the test images."""
    table = Table(
        f"The answer: {case.title}",
        f"AUC of the {task.part.images['test']} test images. Weights begin at random and images "
        "are changed at random, so that it differs from training to training in either way.",
        ("training", "epochs, tutorial", "AUC, tutorial", "AUC, ours", "AUC, ours, in the sweep"),
    )
    for training, way in tutorial.items():
        (spent,) = way.trainings.values()
        own = alone[training].auc[training] if training in alone else None
        cells = [spent["auc"], own, sweep.auc.get(training)]
        shown = ("" if auc is None else f"{auc:.3f}" for auc in cells)
        table.rows.append((str(training), f"{len(spent['epochs'])}", *shown))
    return table
