"""Each of slurm_templates/ once with the real trainer."""

from __future__ import annotations

import csv
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.slurm.client import Slurm
from tests.slurm.launcher import TIMEOUT_SECONDS, TINY, Launcher, record, run_name
from xray_hpc.package_folders import resource
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_record import RunRecord, Status

TEMPLATES = resource("slurm_templates")
# Before the template's name, these override its own lines.
SMALL = ("--gres=none", "--cpus-per-task=1", "--mem=2G", "--time=30")


@dataclass(frozen=True)
class Trained:
    """The results of the templates."""

    train: RunRecord
    train_job: Mapping[str, str]
    train_log: str
    sweep: SweepPaths
    created: list[Status]
    features_log: str
    array: dict[str, str]
    records: Mapping[str, RunRecord]
    collect_job: Mapping[str, str]
    collect_log: str
    interactive: RunRecord
    terminal: str


@pytest.fixture(scope="module")
def trained(module_slurm: Slurm, module_folder: Path, image_cache: Path) -> Trained:
    """One run by train.sbatch, two by sweep.sbatch and collect.sbatch, one on a terminal."""
    if shutil.which("script") is None:
        pytest.skip("needs the command `script`")
    slurm, here = module_slurm, module_folder / "here"
    here.mkdir()
    launcher = Launcher(slurm, here, here / "results", image_cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setenv("XRAY_HPC_PYTHON", sys.executable)
        patch.delenv("VIRTUAL_ENV", raising=False)
        cache = f"cache={image_cache}"
        made = launcher.launch("-m", "model=cnn,tl", "name=templates", "cluster=none")
        assert made.code == 0, made.errors
        sweep = launcher.sweep("templates")
        created = [record(sweep, run_name(sweep, model)).status for model in ("cnn", "tl")]

        train = slurm.submit(
            *SMALL, TEMPLATES / "train.sbatch", "model=cnn", "name=one", cache, *TINY
        )
        words = [sys.executable, resource("jobs") / "features.py", "results/templates/runs/*"]
        features = slurm.submit(
            *SMALL, "--output=features.log", "--wrap", " ".join(map(str, words))
        )
        array = slurm.submit(
            *(*SMALL, "--array=0-1", f"--dependency=afterany:{features}"),
            *(TEMPLATES / "sweep.sbatch", "results/templates"),
        )
        collect = slurm.submit(
            "--mem=2G",
            f"--dependency=afterany:{array}",
            TEMPLATES / "collect.sbatch",
            "results/templates",
        )
        words = [sys.executable, "-m", "xray_hpc.train", "model=cnn"]
        line = [TEMPLATES / "interactive.sh", *SMALL, *words, "name=by_hand", cache, *TINY]
        typed = shlex.join(map(str, line))
        terminal = slurm.run("script", "-qec", typed, "/dev/null", timeout=TIMEOUT_SECONDS).stdout
        slurm.wait(train, TIMEOUT_SECONDS)
        slurm.wait(collect, TIMEOUT_SECONDS)

    one, by_hand = launcher.sweep("one"), launcher.sweep("by_hand")
    return Trained(
        record(one, run_name(one, "cnn")),
        slurm.job(train),
        (here / f"xray-train-{train}.log").read_text(),
        sweep,
        created,
        (here / "features.log").read_text(),
        slurm.states(array),
        {model: record(sweep, run_name(sweep, model)) for model in ("cnn", "tl")},
        slurm.job(collect),
        (here / f"xray-collect-{collect}.log").read_text(),
        record(by_hand, run_name(by_hand, "cnn")),
        terminal,
    )


def test_train_template_trains_one_run(trained: Trained) -> None:
    assert trained.train_job["JobState"] == "COMPLETED"
    assert trained.train.status is Status.FINISHED
    assert trained.train.job_id == trained.train_job["JobId"]
    assert "epoch 1/1 " in trained.train_log


def test_record_names_the_node(trained: Trained) -> None:
    assert trained.train.node == trained.train_job["NodeList"]


def test_sweep_template_trains_the_existing_run_folders(trained: Trained) -> None:
    assert trained.created == [Status.CREATED, Status.CREATED]
    assert set(trained.array.values()) == {"COMPLETED"}
    jobs = {found.job_id: found.status for found in trained.records.values()}
    assert jobs == dict.fromkeys(trained.array, Status.FINISHED)


def test_features_job_before_the_array_caches_the_features(trained: Trained) -> None:
    assert "features at pool: " in trained.features_log
    log = trained.sweep.run(trained.records["tl"].run).log.read_text()
    assert "epoch 1/1 " in log
    assert "computing the cached features" not in log


def test_collect_template_writes_the_report(trained: Trained) -> None:
    assert trained.collect_job["JobState"] == "COMPLETED"
    with (trained.sweep.report / "runs.csv").open(newline="") as table:
        rows = {row["run"]: row["status"] for row in csv.DictReader(table)}
    assert rows == {found.run: "finished" for found in trained.records.values()}
    assert "\nresults/templates/report/report.md\n" in trained.collect_log


def test_interactive_template_trains_a_run(trained: Trained) -> None:
    assert trained.interactive.status is Status.FINISHED
    assert trained.interactive.job_id is not None
    assert "run folder: " in trained.terminal
    assert "epoch 1/1 " in trained.terminal


def test_all_templates_train_the_same_run(trained: Trained) -> None:
    names = {trained.train.run, trained.interactive.run, trained.records["cnn"].run}
    assert len(names) == 1
