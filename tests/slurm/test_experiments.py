"""The five tutorials, launched as one sweep on Slurm with the real trainer."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.slurm.client import Slurm
from tests.slurm.launching import PATIENCE, Launch, Launcher
from xray_hpc.records.atomic_files import read_json
from xray_hpc.records.paths import SweepPaths

EXPERIMENTS = {"larcc": "tl", "stacked": "stacked", "reduced": "conv", "lung": "lung", "vgg": "vgg"}


@dataclass(frozen=True)
class Story:
    sweep: SweepPaths
    launch: Launch
    states: dict[str, str]
    rows: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def story(file_slurm: Slurm, file_shared: Path, packed: Path) -> Story:
    launcher = Launcher(file_slurm, file_shared, file_shared / "results", packed)
    sweep = launcher.sweep("tutorials")
    words = ("data.image_size=56", "data.demo_images=60", "name=tutorials")
    launch = launcher.launch("-m", f"experiment={','.join(EXPERIMENTS)}", *words)
    assert launch.code == 0, launch.errors
    file_slurm.wait(launch.collect, PATIENCE)
    with (sweep.report / "runs.csv").open(newline="") as table:
        rows = {row["experiment"]: row for row in csv.DictReader(table)}
    return Story(sweep, launch, file_slurm.states(launch.array), rows)


def test_every_tutorial_runs_to_its_end(story: Story) -> None:
    assert list(story.states.values()) == ["COMPLETED"] * 5
    assert {name: row["model"] for name, row in story.rows.items()} == EXPERIMENTS
    assert {row["status"] for row in story.rows.values()} == {"finished"}


def test_each_data_set_is_staged_once(story: Story) -> None:
    """Of two classes RGB, grey, and a balanced subset of the grey; and of three classes."""
    indexes = [path.read_text() for path in story.sweep.data.glob("*/index.csv")]
    assert len(indexes) == 4
    assert sum("Viral Pneumonia" in index for index in indexes) == 1


def test_two_and_three_classes_are_compared_in_one_report(story: Story) -> None:
    classes = {
        name: read_json(story.sweep.run(row["run"]).metrics)["classes"]
        for name, row in story.rows.items()
    }
    assert classes.pop("lung") == ["Covid", "Normal", "Viral Pneumonia"]
    assert set(map(tuple, classes.values())) == {("NORMAL", "PNEUMONIA")}
    report = (story.sweep.report / "report.md").read_text()
    for row in story.rows.values():
        assert row["run"] in report
