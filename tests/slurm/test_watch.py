"""Status and cancelling of a sweep whose jobs a real Slurm holds; nothing of it is trained."""

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
class Story:
    """A sweep of three runs that wait: some of it is cancelled, then the rest."""

    sweep: SweepPaths
    first: Launch
    waiting: list[Mapping[str, Any]]
    overview: str
    some: str
    left: Mapping[str, str]
    rest: str
    queued: set[str]
    ended: list[Mapping[str, Any]]
    nothing: str
    again: Launch


@pytest.fixture(scope="module")
def story(module_slurm: Slurm, module_folder: Path, image_cache: Path) -> Story:
    slurm = module_slurm
    launcher = Launcher(slurm, module_folder, module_folder / "results", image_cache)
    words = ("-m", "model=cnn", "seed=1,2", "name=watched", HELD)

    def command(verb: str, *more: str) -> str:
        called = [sys.executable, "-m", f"xray_hpc.{verb}", *more]
        return slurm.run(*called, cwd=launcher.folder).stdout

    def status() -> list[Mapping[str, Any]]:
        return [json.loads(line) for line in command("status", "watched", "--json").splitlines()]

    first = launcher.launch(*words)
    assert first.code == 0, first.errors
    waiting, overview = status(), command("status")
    some = command("cancel", "watched", "--runs", "seed=1", "--yes")
    left = {job: state for job, state in slurm.states(first.array).items() if state == "PENDING"}
    rest = command("cancel", "watched", "--yes")
    for job in (first.stage, first.collect):
        slurm.wait(job)
    queued = slurm.jobs() & {first.array, first.stage, first.collect}
    ended, nothing = status(), command("cancel", "watched", "--yes")
    again = launcher.launch(*words)
    return Story(
        launcher.sweep("watched"),
        first,
        waiting,
        overview,
        some,
        left,
        rest,
        queued,
        ended,
        nothing,
        again,
    )


def test_runs_that_wait_say_why_and_as_which_job(story: Story) -> None:
    array = story.first.array
    assert [(run["state"], run["job"]) for run in story.waiting] == [
        ("pending", f"{array}_0"),
        ("pending", f"{array}_1"),
    ]
    assert {run["reason"] for run in story.waiting} <= {"JobHeldUser", "Dependency", "Priority"}


def test_the_list_of_sweeps_counts_them(story: Story) -> None:
    head, row = story.overview.splitlines()
    assert head.split()[:3] == ["sweep", "runs", "pending"]
    assert row.split()[:3] == ["watched", "2", "2"]


def test_a_pattern_cancels_its_run_only(story: Story) -> None:
    array = story.first.array
    assert story.some == f"cancelled 1 pending run (job {array}_0) of watched\n"
    assert story.left == {f"{array}_1": "PENDING"}


def test_the_rest_goes_with_the_stage_and_collect_jobs(story: Story) -> None:
    assert story.rest.startswith("cancelled 1 pending run (jobs ")
    assert story.rest.endswith(") of watched\nended before: 1 cancelled\n")
    assert story.queued == set()
    events = [event for event in ledger.events(story.sweep) if event["event"] == "cancelled"]
    assert {job for event in events for job in event["jobs"]} >= {
        f"{story.first.array}_0",
        f"{story.first.array}_1",
        story.first.collect,
    }


def test_what_was_cancelled_is_shown_so_and_not_cancelled_again(story: Story) -> None:
    assert [run["state"] for run in story.ended] == ["cancelled", "cancelled"]
    assert story.nothing == "nothing to cancel in watched: 2 cancelled\n"


def test_a_launch_runs_it_again(story: Story) -> None:
    assert story.again.code == 0
    for run in story.waiting:
        assert story.again.decision(run["run"]) == "run: cancelled before"
