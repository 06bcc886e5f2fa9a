"""Compare the toolkit with the tutorial on the same images: cost, memory and AUC."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.dataset_subset import find_dataset, make_subset
from tests.benchmarks.line_fit import fit_line
from tests.benchmarks.markdown_table import Table, number
from tests.benchmarks.process_monitor import ResourceUse
from tests.benchmarks.timing import log_progress
from tests.benchmarks.training_methods import (
    Task,
    ToolkitResult,
    Training,
    TutorialResult,
    train_like_tutorial,
    train_with_toolkit,
)

SIZE, EPOCHS = 224, 10
RATES = (1e-4, 3e-4, 1e-3)
RATE = RATES[1]
CNN = Training("cnn", RATE)
RUNS = (Training("tl", RATE), Training("ft", RATE, 2), Training("ft", RATE, 13))
SWEEP = (
    *("model=tl,ft", "model.unfreeze=2,13"),
    f"train.learning_rate={','.join(f'{rate:g}' for rate in RATES)}",
)
STAGES = ("build", "train", "validate", "evaluate")
PROCESSES = ("launching", "staging", "features", "training", "worker", "report")


@dataclass(frozen=True)
class BackboneCase:
    """The measurements of a backbone.

    Attributes:
        title: name in the tables.
        backbone: the backbone.
        images: number of images in both methods.
        more: number of images in a larger sweep of the toolkit; ``None`` for the whole data set.
        alone: trainings that both methods run separately.
        epochs: number of epochs in the tutorial.
        goal: factor by which the toolkit should be cheaper on the whole data set.
        whole: trainings that the tutorial also runs on the whole data set.
        precisions: precisions of the sweep.
    """

    title: str
    backbone: str
    images: int
    more: int | None
    alone: Sequence[Training]
    epochs: int
    goal: int
    whole: Sequence[Training] = ()
    precisions: Sequence[str] = ("float32",)


CASES = (
    BackboneCase(
        *("MobileNetV2", "mobilenet_v2", 400, None, (CNN, RUNS[0], RUNS[2]), EPOCHS, 10),
        whole=(RUNS[0],),
    ),
    BackboneCase(
        *("ResNet152V2", "resnet152v2", 40, 480, (), 2, 30),
        precisions=("float32", "mixed_bfloat16"),
    ),
)


@dataclass(frozen=True)
class ComparisonResult:
    """The results of a case.

    Attributes:
        case: the case.
        task: the task of ``tutorial`` and ``alone``.
        large: the task of ``whole``.
        tutorial: results of the tutorial.
        alone: results of the toolkit for separate trainings.
        whole: results of the tutorial on the whole data set.
        sweeps: results of the toolkit's sweep by precision and number of images.
    """

    case: BackboneCase
    task: Task
    large: Task
    tutorial: Mapping[Training, TutorialResult]
    alone: Mapping[Training, ToolkitResult]
    whole: Mapping[Training, TutorialResult]
    sweeps: Mapping[str, Mapping[int, ToolkitResult]]

    def tutorial_sweep(self, images: int) -> float:
        """Compute the CPU seconds of the sweep in the tutorial."""
        start = statistics.median(self.tutorial[run].start for run in RUNS)
        share = images / image_count(self.task)
        each = [self.tutorial[run].computed(run, self.task.epochs, share) for run in RUNS]
        return start + len(RATES) * sum(each)


def image_count(task: Task) -> int:
    """Return the number of images to train and validate on."""
    return task.subset.images["train"] + task.subset.images["validation"]


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """Yield the tables of each backbone, measured once."""
    whole = find_dataset(folder)
    for case in CASES:
        weights = whole.weights if case.backbone == "mobilenet_v2" else None
        small, large = (
            Task(make_subset(whole, images, folder), SIZE, EPOCHS, case.backbone, weights)
            for images in (case.images, case.more or whole.images)
        )
        results = compare(case, small, large, folder)
        yield training_table(results, whole.name)
        yield sweep_table(results, whole.images)
        if results.whole:
            yield whole_dataset_table(results)
        yield tutorial_stage_table(results)
        yield toolkit_process_table(results)


def compare(case: BackboneCase, small: Task, large: Task, folder: Path) -> ComparisonResult:
    """Run all trainings of a case with both methods."""
    tutorial, alone = {}, {}
    for training in (run for run in (CNN, *RUNS) if run in RUNS or run in case.alone):
        log_progress(f"{case.title}: {training}, tutorial")
        tutorial[training] = train_like_tutorial(small, case.epochs, [training], folder)
        if training in case.alone:
            log_progress(f"{case.title}: {training}")
            alone[training] = train_with_toolkit(small, training_overrides(training), folder)
    entire = {}
    for training in case.whole:
        log_progress(f"{case.title}: {training} on {image_count(large)} images, tutorial")
        entire[training] = train_like_tutorial(large, large.epochs, [training], folder)
    sweeps: dict[str, dict[int, ToolkitResult]] = {precision: {} for precision in case.precisions}
    for precision, of_precision in sweeps.items():
        for task in (small, large):
            log_progress(f"{case.title}: the sweep on {image_count(task)} images in {precision}")
            overrides = [*SWEEP, f"train.precision={precision}"]
            of_precision[image_count(task)] = train_with_toolkit(task, overrides, folder)
    return ComparisonResult(case, small, large, tutorial, alone, entire, sweeps)


def training_overrides(training: Training) -> list[str]:
    """Return the overrides of a training."""
    depth = [f"model.unfreeze={training.unfreeze}"] if training.unfreeze else []
    return [f"model={training.model}", f"train.learning_rate={training.learning_rate:g}", *depth]


def training_table(results: ComparisonResult, data: str) -> Table:
    """Compare cost, memory and AUC of single trainings."""
    case, images = results.case, results.task.subset.images
    weights = "random" if results.task.weights is None else "ImageNet's"
    table = Table(
        f"Tutorial and toolkit: {case.title}",
        f"{results.task.subset} images of {data}, at {SIZE} px; {weights} weights; learning rate "
        f"{RATE:g}. Both methods scale to 0..1, zoom and shift, and use the tutorial's early "
        "stopping and learning-rate schedule, with a patience that lets every epoch be trained. "
        "`tutorial` is `tests/benchmarks/tutorial_training.py`, one process per training. `ours` "
        "is `python -m xray_hpc.launch -m ... cluster=local` with all processes that it starts, "
        "from an empty cache to the report. `GB` is the peak resident memory of all processes; "
        "shared memory counts in each. `views` is the number of augmented views per training "
        "image; `per_epoch` augments in every epoch. Initial weights are random, so AUCs vary; "
        f"they are those of {images['test']} test images.",
        (
            *("training", "method", "epochs", "views", "CPU-s", "wall s", "GB"),
            *("test AUC", "times less CPU"),
        ),
    )
    whole = case.epochs == EPOCHS
    part_of_sweep = results.sweeps["float32"][image_count(results.task)]
    for training, way in results.tutorial.items():
        (times,) = way.trainings.values()
        auc = f"{times['auc']:.3f}" if whole else ""
        row = (
            str(training),
            "tutorial",
            f"{case.epochs}",
            "per_epoch",
            *_cells(way.usage),
            auc,
            "",
        )
        table.rows.append(row)
        if training in results.alone:
            own = results.alone[training]
            run, ratio = own.runs[training], number(way.usage.cpu / own.usage.cpu)
            cells = (*_cells(own.usage), f"{run.auc:.3f}", ratio)
            table.rows.append((str(training), "ours", f"{EPOCHS}", f"{run.views}", *cells))
        if training in part_of_sweep.runs:
            run = part_of_sweep.runs[training]
            auc = f"{run.auc:.3f}" if whole else ""
            row = ("ours, in the sweep", f"{EPOCHS}", f"{run.views}", "", "", "", auc, "")
            table.rows.append((str(training), *row))
    return table


def _cells(usage: ResourceUse) -> tuple[str, str, str]:
    return number(usage.cpu), number(usage.wall), number(usage.peak / 1e9)


def sweep_table(results: ComparisonResult, whole: int) -> Table:
    """Compare the whole sweep: measured, and extrapolated to the whole data set."""
    runs = len(RUNS) * len(RATES)
    rates = ", ".join(f"{rate:g}" for rate in RATES)
    table = Table(
        f"A sweep of {runs} runs: {results.case.title}",
        f"`tl`, and `ft` with the last 2 and 13 layers unfrozen, at learning rates {rates}; "
        f"{EPOCHS} epochs. The tutorial's cost is computed: one start of Python and "
        f"{len(RATES)} times the runs of the table above (the learning rate does not affect the "
        "cost), with the mean time per epoch and pass over the images, proportional to the number "
        "of images. The toolkit's cost is measured, or computed from the line through the "
        "measurements. The tutorial always uses float32. `AUC` is that of the test images at "
        f"{RATE:g}.",
        (
            *("images", "precision", "tutorial, computed: CPU-s", "ours: CPU-s", "ours"),
            *("wall s", "GB", "AUC: tl / ft 2 / ft 13", "times less CPU"),
        ),
    )
    for precision, sweeps in results.sweeps.items():

        def row(images: int, cpu: float, *others: str, precision: str = precision) -> list[str]:
            tutorial = results.tutorial_sweep(images)
            costs = precision, number(tutorial), number(cpu)
            return [f"{images:,}", *costs, *others, number(tutorial / cpu)]

        measured = {images: own.usage.cpu for images, own in sweeps.items()}
        for images, own in sweeps.items():
            aucs = " / ".join(f"{own.runs[run].auc:.3f}" for run in RUNS)
            table.rows.append(row(images, own.usage.cpu, "measured", *_cells(own.usage)[1:], aucs))
        if whole not in sweeps:
            table.rows.append(row(whole, fit_line(measured)(whole), "computed", "", "", ""))
    goal = f"The goal is {results.case.goal} times less on the whole data set in float32."
    table.remarks.append(goal)
    return table


def whole_dataset_table(results: ComparisonResult) -> Table:
    """Compare computed and measured cost of the tutorial on the whole data set, and the AUC."""
    images = results.large.subset.images
    table = Table(
        f"Tutorial on the whole data set: {results.case.title}",
        f"{results.large.subset} images, {results.large.epochs} epochs at {RATE:g}: the cost "
        "computed for the table above, the measured cost, and the AUC of the "
        f"{images['test']} test images compared with the same training in the toolkit's sweep.",
        (
            *("training", "computed: CPU-s", "measured: CPU-s", "wall s", "GB"),
            *("tutorial: AUC", "ours: AUC"),
        ),
    )
    own = results.sweeps["float32"][image_count(results.large)].runs
    for training, way in results.whole.items():
        share, small = (
            image_count(results.large) / image_count(results.task),
            results.tutorial[training],
        )
        computed = small.start + small.computed(training, results.large.epochs, share)
        aucs = (f"{auc:.3f}" for auc in (way.trainings[training]["auc"], own[training].auc))
        table.rows.append((str(training), number(computed), *_cells(way.usage), *aucs))
    return table


def tutorial_stage_table(results: ComparisonResult) -> Table:
    """Return the stages of the tutorial."""
    table = Table(
        f"Stages of the tutorial: {results.case.title}",
        "CPU seconds to start Python, import and list files; to build the model; to train, "
        "including decoding and augmentation; to validate in `fit`; and to evaluate, which "
        "predicts validation and test images four times.",
        ("training", "epochs", "start", *STAGES),
    )
    for training, way in results.tutorial.items():
        (times,) = way.trainings.values()
        stages = (number(seconds) for seconds in (way.start, *map(times["stages"].get, STAGES)))
        table.rows.append((str(training), f"{len(times['epochs'])}", *stages))
    return table


def toolkit_process_table(results: ComparisonResult) -> Table:
    """Return the CPU seconds of the toolkit by kind of process."""
    table = Table(
        f"Processes of the toolkit: {results.case.title}",
        "CPU seconds by process, sampled four times a second, so that the last quarter of a second "
        "of each is missed. Where `features` is 0, the first run that needs a feature extractor "
        "computes its features.",
        ("training", "images", *PROCESSES),
    )
    own = [
        (str(training), image_count(results.task), way) for training, way in results.alone.items()
    ]
    own += [
        (f"sweep, {precision}", images, way)
        for precision, sweeps in results.sweeps.items()
        for images, way in sweeps.items()
    ]
    for what, images, way in own:
        kinds = (number(way.usage.kinds.get(kind, 0.0)) for kind in PROCESSES)
        table.rows.append((what, f"{images:,}", *kinds))
    return table
