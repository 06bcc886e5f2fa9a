"""What a run's record says of three runs that were ended from outside while they trained.

The three train at once, in one array; each is ended in another way, and then the sweep is launched
again.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from client import Slurm
from launching import PATIENCE, Launch, Launcher, record

from xray_hpc.runs.paths import SweepPaths
from xray_hpc.runs.record import RunRecord, Status

TRAINING, JOB = "xray_hpc.training", "run.py"


@dataclass(frozen=True)
class Fate:
    """How one run ended, and what was decided about it afterwards."""

    record: RunRecord
    state: str
    exit_code: str
    decision: str
    restarted: RunRecord


@dataclass(frozen=True)
class Fates:
    killed_training: Fate
    cancelled: Fate
    killed_job: Fate
    left_behind: list[int]
    report: str


@pytest.fixture(scope="module")
def fates(file_slurm: Slurm, file_shared: Path, packed: Path) -> Fates:
    slurm = file_slurm
    if not slurm.own:
        pytest.skip("on a site's cluster the processes of a job are elsewhere")
    launcher = Launcher(slurm, file_shared, file_shared / "results", packed)
    sweep = launcher.sweep("faults")
    words = ("-m", "model=cnn", "seed=1,2,3", "name=faults")
    endless = ("train.epochs=1000000", "train.early_stopping=null")

    first = launcher.launch(*words, *endless)
    assert first.code == 0, first.errors
    runs = [line.split()[0] for line in first.output.splitlines() if "  run: new  (seed=" in line]
    until(lambda: all(sweep.run(run).accuracy("cnn").exists() for run in runs), "an epoch of each")
    tasks = [f"{first.array}_{index}" for index in range(3)]
    for pid in processes(TRAINING, sweep, runs[0]):
        os.kill(pid, signal.SIGKILL)
    slurm.run("scancel", tasks[1])
    for pid in processes(JOB, sweep, runs[2]):
        os.kill(pid, signal.SIGKILL)
    slurm.wait(first.collect, PATIENCE)
    records = [record(sweep, run) for run in runs]
    left_behind = [pid for run in runs for pid in processes(TRAINING, sweep, run)]
    report = (sweep.report / "report.md").read_text()

    again = launcher.launch(*words, *endless)
    assert again.code == 0, again.errors
    until(lambda: all(running_again(sweep, run, again) for run in runs), "each to run again")
    restarted = [record(sweep, run) for run in runs]
    slurm.cancel([again.array])

    found = [
        Fate(
            records[i],
            slurm.states(tasks[i])[tasks[i]],
            slurm.job(tasks[i])["ExitCode"],
            again.decision(run),
            restarted[i],
        )
        for i, run in enumerate(runs)
    ]
    return Fates(*found, left_behind, report)


def processes(script: str, sweep: SweepPaths, run: str) -> list[int]:
    """The Python processes of this machine that run ``script`` on a run's folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if str(sweep.run(run).folder) in words and any(word.endswith(script) for word in words):
            found.append(int(folder.name))
    return found


def running_again(sweep: SweepPaths, run: str, launch: Launch) -> bool:
    found = record(sweep, run)
    job = found.job_id or ""
    return found.status is Status.RUNNING and job.startswith(f"{launch.array}_")


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
        time.sleep(0.1)


def error(fate: Fate) -> Mapping[str, str]:
    assert fate.record.error is not None
    return fate.record.error


def test_a_killed_training_is_failed_in_slurm_and_in_its_record(fates: Fates) -> None:
    fate = fates.killed_training
    assert (fate.state, fate.exit_code) == ("FAILED", "137:0")
    assert fate.record.status is Status.FAILED
    assert error(fate) == {
        "type": "Killed",
        "message": "the training process was killed by SIGKILL; out of memory is the usual cause",
    }
    assert fate.decision.startswith("run: again; it failed: Killed: ")


def test_a_cancelled_run_is_interrupted(fates: Fates) -> None:
    fate = fates.cancelled
    assert fate.state == "CANCELLED"
    assert fate.record.status is Status.INTERRUPTED
    assert error(fate) == {
        "type": "Interrupted",
        "message": "it was told to end by SIGTERM",
    }
    assert fate.decision == "run: again; it was interrupted"


def test_a_run_whose_job_was_killed_is_not_taken_to_be_running(fates: Fates) -> None:
    fate = fates.killed_job
    assert fate.state == "FAILED"
    assert fate.record.status is Status.RUNNING
    assert fate.decision == "run: again; it was interrupted"


def test_nothing_trains_on_after_its_job_has_ended(fates: Fates) -> None:
    assert fates.left_behind == []


def test_the_collect_job_reports_all_three(fates: Fates) -> None:
    for fate in (fates.killed_training, fates.cancelled, fates.killed_job):
        assert f"| {fate.record.run} | {fate.record.status.value} |" in fates.report


def test_launching_again_runs_all_three_again(fates: Fates) -> None:
    for fate in (fates.killed_training, fates.cancelled, fates.killed_job):
        before, after = fate.record, fate.restarted
        assert (after.restarts, after.error) == (1, None)
        assert after.job_ids == [*before.job_ids, after.job_id]
