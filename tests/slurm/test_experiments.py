"""The five tutorials, launched as one sweep on Slurm with the real trainer."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.slurm.client import Slurm
from tests.slurm.launcher import TIMEOUT_SECONDS, Launch, Launcher
from xray_hpc.records.atomic_files import read_json
from xray_hpc.records.paths import SweepPaths

EXPERIMENTS = {"larcc": "tl", "stacked": "stacked", "reduced": "conv", "lung": "lung", "vgg": "vgg"}


@dataclass(frozen=True)
class Launched:
    """The sweep of the tutorials, after all of its jobs."""

    sweep: SweepPaths
    launch: Launch
    states: dict[str, str]
    rows: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def tutorials(module_slurm: Slurm, module_folder: Path, image_cache: Path) -> Launched:
    launcher = Launcher(module_slurm, module_folder, module_folder / "results", image_cache)
    sweep = launcher.sweep("tutorials")
    words = ("data.image_size=56", "data.demo_images=60", "name=tutorials")
    launch = launcher.launch("-m", f"experiment={','.join(EXPERIMENTS)}", *words)
    assert launch.code == 0, launch.errors
    module_slurm.wait(launch.collect, TIMEOUT_SECONDS)
    with (sweep.report / "runs.csv").open(newline="") as table:
        rows = {row["experiment"]: row for row in csv.DictReader(table)}
    return Launched(sweep, launch, module_slurm.states(launch.array), rows)


def test_every_tutorial_finishes(tutorials: Launched) -> None:
    assert list(tutorials.states.values()) == ["COMPLETED"] * 5
    assert {name: row["model"] for name, row in tutorials.rows.items()} == EXPERIMENTS
    assert {row["status"] for row in tutorials.rows.values()} == {"finished"}


def test_each_data_set_is_staged_once(tutorials: Launched) -> None:
    """Two classes in RGB, in grey and as a balanced subset of the grey; and three classes."""
    indexes = [path.read_text() for path in tutorials.sweep.data.glob("*/index.csv")]
    assert len(indexes) == 4
    assert sum("Viral Pneumonia" in index for index in indexes) == 1


def test_one_report_compares_two_and_three_classes(tutorials: Launched) -> None:
    classes = {
        name: read_json(tutorials.sweep.run(row["run"]).metrics)["classes"]
        for name, row in tutorials.rows.items()
    }
    assert classes.pop("lung") == ["Covid", "Normal", "Viral Pneumonia"]
    assert set(map(tuple, classes.values())) == {("NORMAL", "PNEUMONIA")}
    report = (tutorials.sweep.report / "report.md").read_text()
    for row in tutorials.rows.values():
        assert row["run"] in report
