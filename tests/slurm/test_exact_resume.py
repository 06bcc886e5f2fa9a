"""Real trainings that Slurm, a node or somebody interrupts end with the bytes of one left alone.

The same run is in three sweeps: ``alone``, which nothing interrupts; ``graced``, preempted once
with seconds of notice; and ``often``, interrupted ten times, in all the ways of interrupting.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hold import Hold
from tests.slurm import interrupting
from tests.slurm.client import Slurm
from tests.slurm.interrupting import InterruptedRun
from tests.slurm.launcher import TIMEOUT_SECONDS, Launch, Launcher, record, run_name
from xray_hpc.records.atomic_files import read_json
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Failure, RunRecord, Status

EPOCHS, MOST_EPOCHS, STEPS = 40, 50, 9
# Dropout, augmentation, a learning rate that falls every fifth epoch, and a stop before the last.
WORDS = (
    *("-m", "model=cnn", "augment=larcc", "data.demo_images=60", "train.batch_size=4"),
    *(f"train.epochs={MOST_EPOCHS}", "train.keep=val_auc", "train.save_best=true"),
    *(f"train.early_stopping.patience={EPOCHS - 1}", "train.early_stopping.min_delta=100"),
    *("train.reduce_lr.patience=4", "train.reduce_lr.factor=.8", "train.reduce_lr.min_delta=100"),
    *("train.checkpoint.steps=3", "train.checkpoint.seconds=null"),
    "cluster.on_failure.retries=10",
)
# What is done, what the run's record calls it, and whether the training hears of it.
WAYS: tuple[tuple[Callable[[InterruptedRun], None], Failure, bool], ...] = (
    (interrupting.preempted, Failure.PREEMPTED, True),
    (interrupting.training_killed, Failure.KILLED, False),
    (interrupting.requeued, Failure.PREEMPTED, True),
    (interrupting.killed_and_torn, Failure.KILLED, False),
    (interrupting.near_time_limit, Failure.TIME_LIMIT, True),
    (interrupting.worker_killed, Failure.KILLED, False),
    (interrupting.requeued, Failure.PREEMPTED, True),
    (interrupting.node_died, Failure.NODE_FAILURE, False),
    (interrupting.training_killed, Failure.KILLED, False),
    (interrupting.node_lost, Failure.NODE_FAILURE, True),
)
TORN = [way for way, _, _ in WAYS].index(interrupting.killed_and_torn)
HEARD = [number for number, (_, _, heard) in enumerate(WAYS) if heard]
UNHEARD = [number for number in range(len(WAYS)) if number not in (*HEARD, TORN)]
# They tell when and where it ran.
TELLING = ("run.json", "progress.json", "log", ".lease/")


def name_of(number: int) -> str:
    """Of an interruption: ``2-requeued``."""
    return f"{number}-{WAYS[number][0].__name__}"


@dataclass(frozen=True)
class Ended:
    """A run that is over, and what it has said in its log in each of its tries."""

    paths: RunPaths
    record: RunRecord
    said: list[str]


@dataclass(frozen=True)
class Story:
    """The run in its three sweeps.

    ``left`` are the checkpoints of the one that was interrupted often, in the words of its log, as
    there was an end to each of its tries; the newest last.
    """

    alone: Ended
    graced: Ended
    often: Ended
    left: list[list[str]]


pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def story(module_slurm: Slurm, module_folder: Path, image_cache: Path) -> Story:
    if not module_slurm.is_throwaway:
        pytest.skip("the nodes and processes of a site's cluster are not ours to kill")
    launcher = Launcher(module_slurm, module_folder, module_folder / "results", image_cache)
    node = module_slurm.nodes[-1]
    apart = f"cluster.extra={{exclude: {node}}}"
    holds = {name: hold(module_folder / f"{name}.hold") for name in ("graced", "often")}
    launches = {
        "alone": launch(launcher, "alone", f"cluster.extra={{nodelist: {node}}}"),
        "graced": launch(
            launcher, "graced", "cluster.partition=graced", apart, setup(holds["graced"])
        ),
        "often": launch(launcher, "often", apart, setup(holds["often"])),
    }
    graced, often = (
        InterruptedRun(module_slurm, only_run(launcher, name), launches[name].array, holds[name])
        for name in ("graced", "often")
    )
    for run in (graced, often):
        run.wait_until_held()
    interrupting.preempted(graced, often)
    for run in (graced, often):
        run.wait_until_requeued()
    graced.hold.release()
    for interrupt, _, _ in WAYS[1:]:
        often.wait_until_held()
        interrupt(often)
        often.wait_until_requeued()
    often.hold.release()
    for launched in launches.values():
        module_slurm.wait(launched.collect, TIMEOUT_SECONDS)
    left = [[place.describe(MOST_EPOCHS, STEPS) for place in places] for places in often.left]
    return Story(*(ended(launcher, name) for name in ("alone", "graced", "often")), left)


def hold(file: Path) -> Hold:
    """Hold a training at the end of the second epoch that an attempt completes."""
    made = Hold(file, "xray_hpc.training", "_accuracy_per_epoch.csv", count=2)
    made.begin()
    return made


def setup(hold: Hold) -> str:
    lines = ",".join(f"'{line}'" for line in hold.shell_lines)
    return f"cluster.setup=[{lines}]"


def launch(launcher: Launcher, name: str, *words: str) -> Launch:
    launched = launcher.launch(*WORDS, f"name={name}", *words)
    assert launched.code == 0, launched.errors
    return launched


def only_run(launcher: Launcher, name: str) -> RunPaths:
    sweep = launcher.sweep(name)
    return sweep.run(run_name(sweep, "cnn"))


def ended(launcher: Launcher, name: str) -> Ended:
    paths = only_run(launcher, name)
    said = re.split(r"^--- .*\n", paths.log.read_text(), flags=re.MULTILINE)[1:]
    return Ended(paths, record(launcher.sweep(name), paths.name), said)


def contents(paths: RunPaths) -> dict[str, bytes]:
    """The bytes of each file of the run, without those that tell when and where it ran."""
    files = {
        path.relative_to(paths.folder).as_posix(): path
        for path in paths.folder.rglob("*")
        if path.is_file()
    }
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith(TELLING)}


def differing(run: Ended, other: Ended) -> list[str]:
    """The files that are not in both, or not the same."""
    mine, theirs = contents(run.paths), contents(other.paths)
    return sorted(name for name in mine | theirs if mine.get(name) != theirs.get(name))


def told_after(said: str) -> str | None:
    """What was done when it was told to end, if it was: ``epoch 2/60, step 3/9``."""
    found = re.search(r"Received SIG\w+; checkpoint saved at (.*)\.$", said, re.MULTILINE)
    return found[1] if found else None


def went_on_after(said: str) -> str | None:
    found = re.search(r"Resuming from (.*)\.$", said, re.MULTILINE)
    return found[1] if found else None


def test_the_run_is_one_that_could_end_otherwise(story: Story) -> None:
    """It has to remember when to stop, when to lower its learning rate, what weights to keep."""
    metrics = read_json(story.alone.paths.metrics)
    assert (metrics["epochs"], metrics["stopped_early"]) == (EPOCHS, True)
    assert 0 < metrics["best_epoch"] < EPOCHS - 1
    rates = re.findall(r" lr (\S+) ", story.alone.said[0])
    assert len(set(rates)) == 10
    assert len(story.alone.record.attempts) == 1


def test_a_run_interrupted_ten_times_ends_with_the_bytes_of_one_left_alone(story: Story) -> None:
    assert story.often.record.status is Status.FINISHED
    assert story.often.record.restarts == len(WAYS) == 10
    assert differing(story.often, story.alone) == []


def test_it_is_put_back_each_time_with_the_reason_in_its_record(story: Story) -> None:
    *attempts, last = story.often.record.attempts
    for one, (_, failure, _) in zip(attempts, WAYS, strict=True):
        # Of a worker that had no time to write why, the next one says that its node was lost.
        assert one.failure in (failure.value, Failure.NODE_FAILURE.value)
        assert one.requeued
    assert last.failure is None


@pytest.mark.parametrize("number", HEARD, ids=name_of)
def test_not_a_step_is_lost_where_the_training_hears_of_it(story: Story, number: int) -> None:
    before, after = story.often.said[number : number + 2]
    assert told_after(before) is not None
    assert told_after(before) == went_on_after(after)


@pytest.mark.parametrize("number", UNHEARD, ids=name_of)
def test_it_goes_on_after_its_newest_checkpoint_where_it_does_not(
    story: Story, number: int
) -> None:
    before, after = story.often.said[number : number + 2]
    assert told_after(before) is None
    assert went_on_after(after) == story.left[number][-1]


def test_it_goes_on_after_the_checkpoint_before_a_torn_one_with_a_warning(story: Story) -> None:
    said = story.often.said[TORN + 1]
    assert re.search(r"WARNING .*damaged.*previous checkpoint", said, re.MULTILINE)
    assert went_on_after(said) == story.left[TORN][-2]


def test_a_run_preempted_with_seconds_of_notice_ends_with_the_same_bytes(story: Story) -> None:
    before, after = story.graced.said
    assert story.graced.record.status is Status.FINISHED
    assert told_after(before) is not None
    assert told_after(before) == went_on_after(after)
    assert differing(story.graced, story.alone) == []
