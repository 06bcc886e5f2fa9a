"""Test status and cancelling with pending jobs of a real Slurm; no run is trained."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.slurm.client import Slurm
from tests.slurm.launcher import HELD, Launch, Launcher
from xray_hpc.records import ledger
from xray_hpc.records.paths import SweepPaths


@dataclass(frozen=True)
class CancelHistory:
    """A sweep of three pending runs, of which one and then the rest is cancelled."""

    sweep: SweepPaths
    first: Launch
    pending: list[Mapping[str, Any]]
    sweep_list: str
    first_cancel: str
    left: Mapping[str, str]
    second_cancel: str
    queued: set[str]
    ended: list[Mapping[str, Any]]
    third_cancel: str
    again: Launch


@pytest.fixture(scope="module")
def history(module_slurm: Slurm, module_folder: Path, image_cache: Path) -> CancelHistory:
    slurm = module_slurm
    launcher = Launcher(slurm, module_folder, module_folder / "results", image_cache)
    words = ("-m", "model=cnn", "seed=1,2", "name=cancelled", HELD)

    def command(verb: str, *more: str) -> str:
        called = [sys.executable, "-m", f"xray_hpc.{verb}", *more]
        return slurm.run(*called, cwd=launcher.folder).stdout

    def status() -> list[Mapping[str, Any]]:
        return [json.loads(line) for line in command("status", "cancelled", "--json").splitlines()]

    first = launcher.launch(*words)
    assert first.code == 0, first.errors
    pending, sweep_list = status(), command("status")
    first_cancel = command("cancel", "cancelled", "--runs", "seed=1", "--yes")
    left = {job: state for job, state in slurm.states(first.array).items() if state == "PENDING"}
    second_cancel = command("cancel", "cancelled", "--yes")
    for job in (first.stage, first.collect):
        slurm.wait(job)
    queued = slurm.jobs() & {first.array, first.stage, first.collect}
    ended, third_cancel = status(), command("cancel", "cancelled", "--yes")
    again = launcher.launch(*words)
    return CancelHistory(
        launcher.sweep("cancelled"),
        first,
        pending,
        sweep_list,
        first_cancel,
        left,
        second_cancel,
        queued,
        ended,
        third_cancel,
        again,
    )


def test_pending_runs_have_their_reason_and_job(history: CancelHistory) -> None:
    array = history.first.array
    assert [(run["state"], run["job"]) for run in history.pending] == [
        ("pending", f"{array}_0"),
        ("pending", f"{array}_1"),
    ]
    assert {run["reason"] for run in history.pending} <= {"JobHeldUser", "Dependency", "Priority"}


def test_status_counts_pending_runs(history: CancelHistory) -> None:
    head, row = history.sweep_list.splitlines()
    assert head.split()[:3] == ["sweep", "runs", "pending"]
    assert row.split()[:3] == ["cancelled", "2", "2"]


def test_pattern_cancels_one_run(history: CancelHistory) -> None:
    array = history.first.array
    assert history.first_cancel == f"cancelled 1 pending run (job {array}_0) of cancelled\n"
    assert history.left == {f"{array}_1": "PENDING"}


def test_cancel_includes_the_stage_and_collect_jobs(history: CancelHistory) -> None:
    assert history.second_cancel.startswith("cancelled 1 pending run (jobs ")
    assert history.second_cancel.endswith(") of cancelled\nended before: 1 cancelled\n")
    assert history.queued == set()
    events = [event for event in ledger.events(history.sweep) if event["event"] == "cancelled"]
    assert {job for event in events for job in event["jobs"]} >= {
        f"{history.first.array}_0",
        f"{history.first.array}_1",
        history.first.collect,
    }


def test_cancelled_runs_are_shown_and_not_cancelled_again(history: CancelHistory) -> None:
    assert [run["state"] for run in history.ended] == ["cancelled", "cancelled"]
    assert history.third_cancel == "nothing to cancel in cancelled: 2 cancelled\n"


def test_launch_starts_cancelled_runs_again(history: CancelHistory) -> None:
    assert history.again.code == 0
    for run in history.pending:
        assert history.again.decision(run["run"]) == "start: cancelled before"
