"""The tutorial's own way beside the toolkit's, on the same images: cost, memory and answer."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import dataset_subset
from tests.benchmarks.line_fit import line
from tests.benchmarks.markdown_table import Table, number
from tests.benchmarks.process_monitor import Spent
from tests.benchmarks.timing import progress
from tests.benchmarks.training_methods import Ours, Task, Theirs, Training, ours, theirs

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
PROCESSES = ("launching", "staging", "features", "training", "watching", "report")


@dataclass(frozen=True)
class Case:
    """A backbone; how many images it sees in both ways, and how many more the sweep in ours.

    ``more`` is ``None`` for the whole set. ``alone`` is what is trained for itself in both ways.
    ``epochs`` is how long the tutorial's way is waited for; ``whole`` is what it trains on the
    whole set too. ``precisions`` are those of the sweep. ``goal`` is how many times less it is to
    take on the whole set.
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
    Case(
        *("MobileNetV2", "mobilenet_v2", 400, None, (CNN, RUNS[0], RUNS[2]), EPOCHS, 10),
        whole=(RUNS[0],),
    ),
    Case(
        *("ResNet152V2", "resnet152v2", 40, 480, (), 2, 30),
        precisions=("float32", "mixed_bfloat16"),
    ),
)


@dataclass(frozen=True)
class Compared:
    """What was measured of a case: the sweep, in ours, by its precision and number of images.

    ``task`` is that of ``tutorial`` and ``alone``, ``large`` that of ``whole``.
    """

    case: Case
    task: Task
    large: Task
    tutorial: Mapping[Training, Theirs]
    alone: Mapping[Training, Ours]
    whole: Mapping[Training, Theirs]
    sweeps: Mapping[str, Mapping[int, Ours]]

    def tutorial_sweep(self, images: int) -> float:
        """CPU seconds that the tutorial's way would take for the sweep, of so many images."""
        start = statistics.median(self.tutorial[run].start for run in RUNS)
        share = images / trained(self.task)
        each = [self.tutorial[run].computed(run, self.task.epochs, share) for run in RUNS]
        return start + len(RATES) * sum(each)


def trained(task: Task) -> int:
    """How many images are trained or validated on."""
    return task.part.images["train"] + task.part.images["validation"]


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """Tables of each backbone, measured once: each training, the sweep, and where time goes."""
    whole = dataset_subset.source(folder)
    for case in CASES:
        weights = whole.weights if case.backbone == "mobilenet_v2" else None
        small, large = (
            Task(dataset_subset.part(whole, images, folder), SIZE, EPOCHS, case.backbone, weights)
            for images in (case.images, case.more or whole.images)
        )
        found = compare(case, small, large, folder)
        yield each_training(found, whole.name)
        yield the_sweep(found, whole.images)
        if found.whole:
            yield the_whole_set(found)
        yield their_stages(found)
        yield our_stages(found)


def compare(case: Case, small: Task, large: Task, folder: Path) -> Compared:
    """Train in both ways, in turn."""
    tutorial, alone = {}, {}
    for training in (run for run in (CNN, *RUNS) if run in RUNS or run in case.alone):
        progress(f"{case.title}: {training}, as the tutorial does")
        tutorial[training] = theirs(small, case.epochs, [training], folder)
        if training in case.alone:
            progress(f"{case.title}: {training}")
            alone[training] = ours(small, words(training), folder)
    entire = {}
    for training in case.whole:
        progress(f"{case.title}: {training} on {trained(large)} images, as the tutorial does")
        entire[training] = theirs(large, large.epochs, [training], folder)
    sweeps: dict[str, dict[int, Ours]] = {precision: {} for precision in case.precisions}
    for precision, of_it in sweeps.items():
        for task in (small, large):
            progress(f"{case.title}: the sweep on {trained(task)} images in {precision}")
            said = [*SWEEP, f"train.precision={precision}"]
            of_it[trained(task)] = ours(task, said, folder)
    return Compared(case, small, large, tutorial, alone, entire, sweeps)


def words(training: Training) -> list[str]:
    """What a launch is told of a training."""
    depth = [f"model.unfreeze={training.unfreeze}"] if training.unfreeze else []
    return [f"model={training.model}", f"train.learning_rate={training.learning_rate:g}", *depth]


def each_training(found: Compared, data: str) -> Table:
    """Trainings by themselves: cost, memory and AUC in both ways."""
    case, images = found.case, found.task.part.images
    weights = "random" if found.task.weights is None else "ImageNet's"
    table = Table(
        f"The tutorial's way and ours: {case.title}",
        f"{found.task.part} images of {data}, at {SIZE} px; {weights} weights; learning rate "
        f"{RATE:g}. Both ways scale to 0..1, zoom and shift, stop early and lower the learning "
        "rate as the tutorial does, but with a patience as long as the training, so that every "
        "epoch is trained. "
        "`tutorial` is `tests/benchmarks/tutorial_training.py`, a process for each training. "
        "`ours` is "
        "`python -m xray_hpc.launch -m ... cluster=local` and all that it starts, from an empty "
        "cache to the report. `GB` is the most that was resident at once in all processes, what "
        "they share counted in each. `views` says how many changed forms of a training image there "
        "are: `per_epoch` draws new ones in every epoch. Weights begin at random, so that no two "
        f"trainings have the same AUC, which is of {images['test']} test images.",
        (
            *("training", "way", "epochs", "views", "CPU-s", "wall s", "GB"),
            *("test AUC", "times less CPU"),
        ),
    )
    whole = case.epochs == EPOCHS
    part_of_sweep = found.sweeps["float32"][trained(found.task)]
    for training, way in found.tutorial.items():
        (spent,) = way.trainings.values()
        auc = f"{spent['auc']:.3f}" if whole else ""
        row = (str(training), "tutorial", f"{case.epochs}", "off", *_cells(way.spent), auc, "")
        table.rows.append(row)
        if training in found.alone:
            own = found.alone[training]
            run, ratio = own.runs[training], number(way.spent.cpu / own.spent.cpu)
            cells = (*_cells(own.spent), f"{run.auc:.3f}", ratio)
            table.rows.append((str(training), "ours", f"{EPOCHS}", f"{run.views}", *cells))
        if training in part_of_sweep.runs:
            run = part_of_sweep.runs[training]
            auc = f"{run.auc:.3f}" if whole else ""
            row = ("ours, in the sweep", f"{EPOCHS}", f"{run.views}", "", "", "", auc, "")
            table.rows.append((str(training), *row))
    return table


def _cells(spent: Spent) -> tuple[str, str, str]:
    return number(spent.cpu), number(spent.wall), number(spent.peak / 1e9)


def the_sweep(found: Compared, whole: int) -> Table:
    """All runs: ours as measured and, on the whole set, along the line through that."""
    runs = len(RUNS) * len(RATES)
    rates = ", ".join(f"{rate:g}" for rate in RATES)
    table = Table(
        f"A sweep of {runs} runs: {found.case.title}",
        f"`tl`, and `ft` with the last 2 and 13 layers unfrozen, at learning rates {rates}; "
        f"{EPOCHS} epochs. The tutorial's way is computed everywhere: one start of Python, and "
        f"{len(RATES)} times the runs of the table above (a run costs the same at any learning "
        "rate), their epochs and passes over the images as the mean of those behind the first, "
        "and in proportion to the number of images. Ours is computed only where it says so: on the "
        "line through what was measured. The tutorial's way computes in float32 throughout. `AUC` "
        f"is of the test images, at {RATE:g}.",
        (
            *("images", "precision", "tutorial, computed: CPU-s", "ours: CPU-s", "ours"),
            *("wall s", "GB", "AUC: tl / ft 2 / ft 13", "times less CPU"),
        ),
    )
    for precision, sweeps in found.sweeps.items():

        def row(images: int, cpu: float, *others: str, precision: str = precision) -> list[str]:
            every = found.tutorial_sweep(images)
            ways = precision, number(every), number(cpu)
            return [f"{images:,}", *ways, *others, number(every / cpu)]

        measured = {images: own.spent.cpu for images, own in sweeps.items()}
        for images, own in sweeps.items():
            aucs = " / ".join(f"{own.runs[run].auc:.3f}" for run in RUNS)
            table.rows.append(row(images, own.spent.cpu, "measured", *_cells(own.spent)[1:], aucs))
        if whole not in sweeps:
            table.rows.append(row(whole, line(measured)(whole), "computed", "", "", ""))
    goal = f"The goal is {found.case.goal} times less on the whole set, in float32."
    table.remarks.append(goal)
    return table


def the_whole_set(found: Compared) -> Table:
    """What was computed of the tutorial's way beside what it took, and AUC of all test images."""
    images = found.large.part.images
    table = Table(
        f"The tutorial's way on the whole set: {found.case.title}",
        f"{found.large.part} images, {found.large.epochs} epochs at {RATE:g}: what the table above "
        "computes for a training, what it took when it was waited for, and the AUC of the "
        f"{images['test']} test images beside that of the same training in our sweep.",
        (
            *("training", "computed: CPU-s", "measured: CPU-s", "wall s", "GB"),
            *("tutorial: AUC", "ours: AUC"),
        ),
    )
    own = found.sweeps["float32"][trained(found.large)].runs
    for training, way in found.whole.items():
        share, small = trained(found.large) / trained(found.task), found.tutorial[training]
        computed = small.start + small.computed(training, found.large.epochs, share)
        aucs = (f"{auc:.3f}" for auc in (way.trainings[training]["auc"], own[training].auc))
        table.rows.append((str(training), number(computed), *_cells(way.spent), *aucs))
    return table


def their_stages(found: Compared) -> Table:
    """Where the time goes in the tutorial's way."""
    table = Table(
        f"Where the tutorial's time goes: {found.case.title}",
        "CPU seconds: starting Python, importing, listing the files; building; training, with "
        "decoding and augmenting; validating in `fit`; evaluating, which goes over validation and "
        "test images four times.",
        ("training", "epochs", "start", *STAGES),
    )
    for training, way in found.tutorial.items():
        (spent,) = way.trainings.values()
        stages = (number(seconds) for seconds in (way.start, *map(spent["stages"].get, STAGES)))
        table.rows.append((str(training), f"{len(spent['epochs'])}", *stages))
    return table


def our_stages(found: Compared) -> Table:
    """Where the time goes in ours, by process."""
    table = Table(
        f"Where our time goes: {found.case.title}",
        "CPU seconds by process, looked at four times a second, so that the end of each is missed. "
        "Where `features` is nothing, the first run that needs a feature extractor computes it.",
        ("training", "images", *PROCESSES),
    )
    own = [(str(training), trained(found.task), way) for training, way in found.alone.items()]
    own += [
        (f"sweep, {precision}", images, way)
        for precision, sweeps in found.sweeps.items()
        for images, way in sweeps.items()
    ]
    for what, images, way in own:
        kinds = (number(way.spent.kinds.get(kind, 0.0)) for kind in PROCESSES)
        table.rows.append((what, f"{images:,}", *kinds))
    return table
