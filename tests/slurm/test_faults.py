"""A real training that is killed in the middle comes to what an undisturbed one comes to.

tests/faults does many more faults to a stand-in for training.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from client import Slurm
from launching import PATIENCE, Launch, Launcher, record, run_of
from processes import commands

from xray_hpc.runs.paths import RunPaths, SweepPaths
from xray_hpc.runs.progress import read_progress
from xray_hpc.runs.record import Failure, RunRecord, Status

WORDS = ("-m", "model=cnn", "train.epochs=40", "train.early_stopping=null")


@dataclass(frozen=True)
class Pair:
    """The same run in two sweeps, one of which was killed once, and the latter's end in Slurm."""

    killed: RunPaths
    undisturbed: RunPaths
    record: RunRecord
    epochs_at_death: int
    states: dict[str, str]


@pytest.fixture(scope="module")
def pair(file_slurm: Slurm, file_shared: Path, packed: Path) -> Pair:
    if not file_slurm.own:
        pytest.skip("on a site's cluster the processes of a job are elsewhere")
    launcher = Launcher(file_slurm, file_shared, file_shared / "results", packed)
    first, second = start(launcher, "killed"), start(launcher, "undisturbed")
    killed, undisturbed = only_run(launcher, "killed"), only_run(launcher, "undisturbed")
    until(lambda: done(killed) >= 1, "an epoch")
    for pid, command in commands():
        if "xray_hpc.training" in command and str(killed.folder) in command:
            os.kill(pid, signal.SIGKILL)
    at_death = done(killed)
    for launch in (first, second):
        file_slurm.wait(launch.collect, PATIENCE)
    ended = record(launcher.sweep("killed"), killed.name)
    return Pair(killed, undisturbed, ended, at_death, file_slurm.states(first.array))


def start(launcher: Launcher, name: str) -> Launch:
    launch = launcher.launch(*WORDS, f"name={name}")
    assert launch.code == 0, launch.errors
    return launch


def only_run(launcher: Launcher, name: str) -> RunPaths:
    sweep: SweepPaths = launcher.sweep(name)
    return sweep.run(run_of(sweep, "cnn"))


def done(run: RunPaths) -> int:
    progress = read_progress(run)
    return 0 if progress is None else progress.done


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
        time.sleep(0.02)


def test_its_job_goes_on_by_itself(pair: Pair) -> None:
    assert set(pair.states.values()) == {"COMPLETED"}
    assert pair.record.status is Status.FINISHED
    assert [one.failure for one in pair.record.tries] == [Failure.KILLED.value, None]
    assert [one.retried for one in pair.record.tries] == [True, False]


def test_it_goes_on_after_its_last_epoch(pair: Pair) -> None:
    progress = read_progress(pair.killed)
    assert progress is not None
    assert 1 <= pair.epochs_at_death <= progress.first < progress.epochs


@pytest.mark.parametrize("kind", ["accuracy", "loss", "auc"])
def test_its_epochs_are_those_of_an_undisturbed_run(pair: Pair, kind: str) -> None:
    tables = [getattr(run, kind)("cnn").read_text() for run in (pair.killed, pair.undisturbed)]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_its_scores_are_those_of_an_undisturbed_run(pair: Pair, split: str) -> None:
    scores = [run.scores("cnn", split).read_text() for run in (pair.killed, pair.undisturbed)]
    assert scores[0] == scores[1]
