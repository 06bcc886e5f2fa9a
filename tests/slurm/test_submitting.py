"""Launches that submit held jobs, and what they find of earlier launches; nothing trains."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.slurm.client import Slurm
from tests.slurm.launcher import HELD, Launch, Launcher, run_name
from xray_hpc.records import ledger
from xray_hpc.records.paths import SweepPaths


@pytest.fixture
def launcher(slurm: Slurm, shared_folder: Path, image_cache: Path) -> Launcher:
    return Launcher(slurm, shared_folder, shared_folder / "results", image_cache)


def forget_job(sweep: SweepPaths, job: str) -> None:
    """Cut the ledger as a launch leaves it that is killed right after Slurm accepted ``job``."""
    lines = sweep.ledger.read_text().splitlines(keepends=True)
    entries = [index for index, line in enumerate(lines) if json.loads(line).get("job") == job]
    sweep.ledger.write_text("".join(lines[: entries[0]]))


@contextmanager
def locked_by_another_launch(sweep: SweepPaths) -> Iterator[int]:
    """Hold the sweep's launch lock in another process during the block; yield its id."""
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from xray_hpc.records.launch_lock import launch_lock\n"
        "from xray_hpc.records.paths import SweepPaths\n"
        "with launch_lock(SweepPaths(Path(sys.argv[1]))):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(sweep.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        process.stdout.readline()
        yield process.pid
        process.stdin.close()


def launch_held(launcher: Launcher, *words: str) -> Launch:
    done = launcher.launch("-m", "model=cnn,tl", "name=held", HELD, *words)
    assert done.code == 0, done.errors
    return done


def test_launch_adopts_the_job_of_a_killed_launch(launcher: Launcher) -> None:
    first, sweep = launch_held(launcher), launcher.sweep("held")
    forget_job(sweep, first.array)
    again = launch_held(launcher)
    assert f"adopted its job {first.array} " in again.output
    for index, model in enumerate(("cnn", "tl")):
        decision = again.decision(run_name(sweep, model))
        assert decision.startswith(f"skip: pending as job {first.array}_{index} (")
    assert {job.id for job in ledger.read(sweep).jobs().values()} == {
        f"{first.array}_0",
        f"{first.array}_1",
    }


def test_launch_submits_what_a_killed_launch_did_not(launcher: Launcher) -> None:
    first, sweep = launch_held(launcher), launcher.sweep("held")
    launcher.slurm.cancel([first.stage, first.array, first.collect])
    forget_job(sweep, first.stage)
    # No job in the queue has the script's path any more, as if it had never reached Slurm.
    for script in sweep.slurm.glob("*/job.sh"):
        script.parent.rename(script.parent.with_name(f"{script.parent.name}-gone"))
    sweep.ledger.write_text(sweep.ledger.read_text().replace("-stage-", "-stage-never-"))
    again = launch_held(launcher)
    assert "2 runs, 2 to start" in again.output
    assert [event["event"] for event in ledger.events(sweep)].count("refused") == 1


def test_launch_submits_a_missing_collect_job(launcher: Launcher) -> None:
    first, sweep = launch_held(launcher), launcher.sweep("held")
    launcher.slurm.cancel([first.collect])
    again = launch_held(launcher)
    assert "submitted job " in again.output
    assert "which compares the runs when all have ended" in again.output
    (kind, job) = [(at.kind, at.job) for at in ledger.read(sweep).submissions.values()][-1]
    assert kind == "collect"
    assert job is not None
    assert launcher.slurm.job(job)["Dependency"].count(first.array) >= 1


def test_second_launch_at_once_fails_and_names_the_first(launcher: Launcher) -> None:
    sweep = launcher.sweep("held")
    sweep.folder.mkdir(parents=True)
    with locked_by_another_launch(sweep) as process:
        done = launcher.launch("-m", "model=cnn,tl", "name=held", HELD)
    assert done.code == 2
    assert done.errors.count("\n") == 1
    assert str(sweep.folder) in done.errors
    assert f"process {process}" in done.errors
    assert ledger.read(sweep).submissions == {}


def test_resume_needs_only_the_folder(launcher: Launcher) -> None:
    first, sweep = launch_held(launcher), launcher.sweep("held")
    launcher.slurm.cancel([first.stage, first.array, first.collect])
    again = launcher.launch_without_defaults("--resume", str(sweep.folder), "cluster.mem=3G")
    assert again.code == 0, again.errors
    assert "2 runs, 2 to start" in again.output
    assert launcher.slurm.job(f"{again.array}_0")["MinMemoryNode"] == "3G"


def test_jobs_request_every_partition_of_a_list(launcher: Launcher) -> None:
    if not launcher.slurm.is_throwaway:
        pytest.skip("needs a throw-away cluster")

    def partitions(job: str) -> list[str]:
        return sorted(launcher.slurm.job(job)["Partition"].split(","))  # Slurm changes their order

    first = launch_held(launcher, "cluster.partition=main,high")
    assert partitions(first.array) == partitions(first.collect) == ["high", "main"]
    launcher.slurm.cancel([first.stage, first.array, first.collect])
    words = ["cluster.partition=[high,graced]", "cluster.cpu_job.partition=main,graced"]
    again = launcher.launch_without_defaults("--resume", str(launcher.sweep("held").folder), *words)
    assert again.code == 0, again.errors
    assert partitions(again.array) == ["graced", "high"]
    assert partitions(again.collect) == ["graced", "main"]


def test_dry_run_prints_the_scripts_and_creates_nothing(launcher: Launcher) -> None:
    before = launcher.slurm.jobs()
    done = launcher.launch("-m", "model=cnn,tl", "name=dry", "dry_run=true")
    assert done.code == 0, done.errors
    assert "sweep dry: 2 runs, 2 to start" in done.output
    assert [line for line in done.output.splitlines() if line.startswith("--- ")] == [
        "--- stage job",
        "--- array of 2 jobs",
        "--- collect job",
    ]
    assert "#SBATCH --array=0-1%2" in done.output
    assert launcher.slurm.jobs() == before
    assert not launcher.sweep("dry").folder.exists()


def test_optimising_sweeper_requires_wait(launcher: Launcher) -> None:
    done = launcher.launch("-m", "model=cnn", "name=best", "hydra/sweeper=basic")
    assert done.code == 2
    assert re.match(r"error: BasicSweeper .*wait=true", done.errors)


def test_jobs_execute_the_code_snapshot(launcher: Launcher) -> None:
    done = launch_held(launcher, "cluster.snapshot=true")
    sweep = launcher.sweep("held")
    (code,) = [folder for folder in sweep.code.iterdir() if folder.is_dir()]
    script = launcher.slurm.run("scontrol", "write", "batch_script", done.array, "-").stdout
    assert f"export PYTHONPATH={code}" in script.replace("'", "")
    assert str(code / "jobs" / "run.py") in script.replace("'", "")


def test_jobs_start_in_the_working_folder_as_the_shell_names_it(launcher: Launcher) -> None:
    (launcher.folder / "export1").mkdir()
    home = launcher.folder / "home"
    home.symlink_to("export1")
    here = dataclasses.replace(launcher, folder=home)
    environ = dict(os.environ) | {"PWD": str(home)}
    done = here.launch("model=cnn", "name=home", "results=out", HELD, environ=environ)
    assert done.code == 0, done.errors
    shown = launcher.slurm.run("scontrol", "show", "job", done.array).stdout.split()
    (script,) = (word for word in shown if word.startswith("Command="))
    assert f"WorkDir={home}" in shown
    assert script.startswith(f"Command={home}/out/home/slurm/")


def test_jobs_run_with_sbatch_export_none(
    launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.environ.get("SBATCH_EXPORT"):
        pytest.skip("SBATCH_EXPORT is set here")
    done = launcher.launch(
        "model=cnn",
        "name=bare",
        "cluster.setup=['echo \"exported: $EXPORTED_MARK\"']",
        environ=dict(os.environ) | {"SBATCH_EXPORT": "NONE", "EXPORTED_MARK": "yes"},
    )
    assert done.code == 0, done.errors
    launcher.slurm.wait(done.collect, 400)
    assert launcher.slurm.states(done.array) == {done.array: "COMPLETED"}
    (log,) = launcher.sweep("bare").slurm.glob("*-runs-*/*_log.out")
    assert "exported: \n" in log.read_text()
