"""Real trainings that are interrupted on Slurm end with the same bytes as an uninterrupted one.

The same run is trained in three sweeps: ``uninterrupted``; ``preempted``, once and with grace time;
and ``interrupted``, ten times, in all the ways of interrupting.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hold import Hold
from tests.run_files import differing_files
from tests.slurm import interrupting
from tests.slurm.client import Slurm
from tests.slurm.interrupting import InterruptedRun
from tests.slurm.launcher import TIMEOUT_SECONDS, Launch, Launcher, record, run_name
from xray_hpc.records.atomic_files import read_json
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Failure, RunRecord, Status

EPOCHS, MAX_EPOCHS, STEPS = 40, 50, 9
# Dropout, augmentation, a learning rate that falls every fifth epoch, and early stopping.
WORDS = (
    *("-m", "model=cnn", "augment=larcc", "data.demo_images=60", "train.batch_size=4"),
    *(f"train.epochs={MAX_EPOCHS}", "train.keep=val_auc", "train.save_best=true"),
    *(f"train.early_stopping.patience={EPOCHS - 1}", "train.early_stopping.min_delta=100"),
    *("train.reduce_lr.patience=4", "train.reduce_lr.factor=.8", "train.reduce_lr.min_delta=100"),
    *("train.checkpoint.steps=3", "train.checkpoint.seconds=null"),
    "cluster.on_failure.retries=10",
)
# The interruption, its class in the record, and whether the training receives a signal.
INTERRUPTIONS: tuple[tuple[Callable[[InterruptedRun], None], Failure, bool], ...] = (
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
TORN = [interrupt for interrupt, _, _ in INTERRUPTIONS].index(interrupting.killed_and_torn)
SIGNALS = [number for number, (_, _, signal) in enumerate(INTERRUPTIONS) if signal]
KILLS = [number for number in range(len(INTERRUPTIONS)) if number not in (*SIGNALS, TORN)]


def name_of(number: int) -> str:
    """Return the test id of an interruption, such as ``2-requeued``."""
    return f"{number}-{INTERRUPTIONS[number][0].__name__}"


@dataclass(frozen=True)
class FinishedRun:
    """A finished run, with the log of each attempt."""

    paths: RunPaths
    record: RunRecord
    logs: list[str]


@dataclass(frozen=True)
class FinishedRuns:
    """The run of each sweep.

    Attributes:
        checkpoints: those of ``interrupted`` after each interruption, the newest last.
    """

    uninterrupted: FinishedRun
    preempted: FinishedRun
    interrupted: FinishedRun
    checkpoints: list[list[str]]


pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def runs(module_slurm: Slurm, module_folder: Path, image_cache: Path) -> FinishedRuns:
    if not module_slurm.is_throwaway:
        pytest.skip("nodes and processes of a site's cluster must not be killed")
    launcher = Launcher(module_slurm, module_folder, module_folder / "results", image_cache)
    node = module_slurm.nodes[-1]
    elsewhere = f"cluster.extra={{exclude: {node}}}"
    holds = {
        name: begin_hold(module_folder / f"{name}.hold") for name in ("preempted", "interrupted")
    }
    launches = {
        "uninterrupted": launch(launcher, "uninterrupted", f"cluster.extra={{nodelist: {node}}}"),
        "preempted": launch(
            launcher, "preempted", "cluster.partition=graced", elsewhere, setup(holds["preempted"])
        ),
        "interrupted": launch(launcher, "interrupted", elsewhere, setup(holds["interrupted"])),
    }
    preempted, interrupted = (
        InterruptedRun(module_slurm, only_run(launcher, name), launches[name].array, holds[name])
        for name in ("preempted", "interrupted")
    )
    for run in (preempted, interrupted):
        run.wait_until_held()
    interrupting.preempted(preempted, interrupted)
    for run in (preempted, interrupted):
        run.wait_until_requeued()
    preempted.hold.release()
    for interrupt, _, _ in INTERRUPTIONS[1:]:
        interrupted.wait_until_held()
        interrupt(interrupted)
        interrupted.wait_until_requeued()
    interrupted.hold.release()
    for launched in launches.values():
        module_slurm.wait(launched.collect, TIMEOUT_SECONDS)
    checkpoints = [
        [position.describe(MAX_EPOCHS, STEPS) for position in positions]
        for positions in interrupted.left
    ]
    return FinishedRuns(
        *(finished_run(launcher, name) for name in ("uninterrupted", "preempted", "interrupted")),
        checkpoints,
    )


def begin_hold(file: Path) -> Hold:
    """Hold a training at the end of the second epoch that an attempt completes."""
    hold = Hold(file, "xray_hpc.training", "_accuracy_per_epoch.csv", count=2)
    hold.begin()
    return hold


def setup(hold: Hold) -> str:
    """Return the override that applies a hold to the jobs of a launch."""
    lines = ",".join(f"'{line}'" for line in hold.shell_lines)
    return f"cluster.setup=[{lines}]"


def launch(launcher: Launcher, name: str, *words: str) -> Launch:
    launched = launcher.launch(*WORDS, f"name={name}", *words)
    assert launched.code == 0, launched.errors
    return launched


def only_run(launcher: Launcher, name: str) -> RunPaths:
    sweep = launcher.sweep(name)
    return sweep.run(run_name(sweep, "cnn"))


def finished_run(launcher: Launcher, name: str) -> FinishedRun:
    paths = only_run(launcher, name)
    logs = re.split(r"^--- .*\n", paths.log.read_text(), flags=re.MULTILINE)[1:]
    return FinishedRun(paths, record(launcher.sweep(name), paths.name), logs)


def saved_at(log: str) -> str | None:
    """Return the position of the checkpoint after a signal, such as ``epoch 2/50, step 3/9``."""
    found = re.search(r"Received SIG\w+; checkpoint saved at (.*)\.$", log, re.MULTILINE)
    return found[1] if found else None


def resumed_from(log: str) -> str | None:
    """Return the position that an attempt resumed from."""
    found = re.search(r"Resuming from (.*)\.$", log, re.MULTILINE)
    return found[1] if found else None


def test_uninterrupted_run_stops_early_after_its_best_epoch(runs: FinishedRuns) -> None:
    metrics = read_json(runs.uninterrupted.paths.metrics)
    assert (metrics["epochs"], metrics["stopped_early"]) == (EPOCHS, True)
    assert 1 < metrics["best_epoch"] < EPOCHS
    rates = re.findall(r" lr (\S+) ", runs.uninterrupted.logs[0])
    assert len(set(rates)) == 10
    assert len(runs.uninterrupted.record.attempts) == 1


def test_run_interrupted_ten_times_ends_with_the_same_bytes(runs: FinishedRuns) -> None:
    assert runs.interrupted.record.status is Status.FINISHED
    assert runs.interrupted.record.restarts == len(INTERRUPTIONS) == 10
    assert differing_files(runs.interrupted.paths, runs.uninterrupted.paths) == []


def test_each_interruption_is_recorded_and_requeued(runs: FinishedRuns) -> None:
    *attempts, last = runs.interrupted.record.attempts
    for attempt, (_, failure, _) in zip(attempts, INTERRUPTIONS, strict=True):
        # If the worker could not record why, the next one records that its node was lost.
        assert attempt.failure in (failure.value, Failure.NODE_FAILURE.value)
        assert attempt.requeued
    assert last.failure is None


@pytest.mark.parametrize("number", SIGNALS, ids=name_of)
def test_signal_loses_no_step(runs: FinishedRuns, number: int) -> None:
    before, after = runs.interrupted.logs[number : number + 2]
    assert saved_at(before) is not None
    assert saved_at(before) == resumed_from(after)


@pytest.mark.parametrize("number", KILLS, ids=name_of)
def test_kill_resumes_from_the_newest_checkpoint(runs: FinishedRuns, number: int) -> None:
    before, after = runs.interrupted.logs[number : number + 2]
    assert saved_at(before) is None
    assert resumed_from(after) == runs.checkpoints[number][-1]


def test_torn_checkpoint_resumes_from_the_previous_one(runs: FinishedRuns) -> None:
    log = runs.interrupted.logs[TORN + 1]
    assert re.search(r"WARNING .*damaged.*previous checkpoint", log, re.MULTILINE)
    assert resumed_from(log) == runs.checkpoints[TORN][-2]


def test_preemption_with_grace_time_ends_with_the_same_bytes(runs: FinishedRuns) -> None:
    before, after = runs.preempted.logs
    assert runs.preempted.record.status is Status.FINISHED
    assert saved_at(before) is not None
    assert saved_at(before) == resumed_from(after)
    assert differing_files(runs.preempted.paths, runs.uninterrupted.paths) == []
