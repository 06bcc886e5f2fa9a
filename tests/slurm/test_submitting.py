"""What a launch says to Slurm, and what it finds out about launches before it; nothing trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.slurm.client import Slurm
from tests.slurm.launching import HELD, Launch, Launcher, run_of
from xray_hpc.records import ledger
from xray_hpc.records.paths import SweepPaths


@pytest.fixture
def launcher(slurm: Slurm, shared: Path, packed: Path) -> Launcher:
    return Launcher(slurm, shared, shared / "results", packed)


def forget(sweep: SweepPaths, job: str) -> None:
    """Cut the ledger as a launch leaves it that is killed when Slurm has just taken ``job``."""
    lines = sweep.ledger.read_text().splitlines(keepends=True)
    answers = [index for index, line in enumerate(lines) if json.loads(line).get("job") == job]
    sweep.ledger.write_text("".join(lines[: answers[0]]))


@contextmanager
def somebody_launches(sweep: SweepPaths) -> Iterator[int]:
    """A process that holds the sweep's lock as a launch does, until the block is left."""
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


def held(launcher: Launcher, *words: str) -> Launch:
    done = launcher.launch("-m", "model=cnn,tl", "name=held", HELD, *words)
    assert done.code == 0, done.errors
    return done


def test_the_job_of_a_launch_that_was_killed_is_taken_over(launcher: Launcher) -> None:
    first, sweep = held(launcher), launcher.sweep("held")
    forget(sweep, first.array)
    again = held(launcher)
    assert f"adopted its job {first.array} " in again.output
    for index, model in enumerate(("cnn", "tl")):
        decision = again.decision(run_of(sweep, model))
        assert decision.startswith(f"leave: pending as job {first.array}_{index} (")
    assert {job.id for job in ledger.read(sweep).jobs().values()} == {
        f"{first.array}_0",
        f"{first.array}_1",
    }


def test_what_a_killed_launch_did_not_submit_is_submitted(launcher: Launcher) -> None:
    first, sweep = held(launcher), launcher.sweep("held")
    launcher.slurm.cancel([first.stage, first.array, first.collect])
    forget(sweep, first.stage)
    # As if it had never reached Slurm: nothing in the queue was submitted with this script.
    for script in sweep.slurm.glob("*/job.sh"):
        script.parent.rename(script.parent.with_name(f"{script.parent.name}-gone"))
    sweep.ledger.write_text(sweep.ledger.read_text().replace("-stage-", "-stage-never-"))
    again = held(launcher)
    assert "2 runs, 2 to run" in again.output
    assert [event["event"] for event in ledger.events(sweep)].count("refused") == 1


def test_a_sweep_whose_comparison_was_not_submitted_gets_one(launcher: Launcher) -> None:
    first, sweep = held(launcher), launcher.sweep("held")
    launcher.slurm.cancel([first.collect])
    again = held(launcher)
    assert "submitted job " in again.output
    assert "which compares the runs when all have ended" in again.output
    (kind, job) = [(at.kind, at.job) for at in ledger.read(sweep).submissions.values()][-1]
    assert kind == "collect"
    assert job is not None
    assert launcher.slurm.job(job)["Dependency"].count(first.array) >= 1


def test_a_second_launch_at_once_is_refused_and_told_whose_the_first_is(
    launcher: Launcher,
) -> None:
    sweep = launcher.sweep("held")
    sweep.folder.mkdir(parents=True)
    with somebody_launches(sweep) as process:
        done = launcher.launch("-m", "model=cnn,tl", "name=held", HELD)
    assert done.code == 2
    assert done.errors.count("\n") == 1
    assert f"another launch of {sweep.folder} is running (" in done.errors
    assert f", process {process}, since " in done.errors
    assert ledger.read(sweep).submissions == {}


def test_a_sweep_is_launched_again_by_its_folder_alone(launcher: Launcher) -> None:
    first, sweep = held(launcher), launcher.sweep("held")
    launcher.slurm.cancel([first.stage, first.array, first.collect])
    again = launcher.launch_bare("--resume", str(sweep.folder), "cluster.mem=3G")
    assert again.code == 0, again.errors
    assert "2 runs, 2 to run" in again.output
    assert launcher.slurm.job(f"{again.array}_0")["MinMemoryNode"] == "3G"


def test_a_dry_run_shows_the_scripts_and_makes_nothing(launcher: Launcher) -> None:
    before = launcher.slurm.jobs()
    done = launcher.launch("-m", "model=cnn,tl", "name=dry", "dry_run=true")
    assert done.code == 0, done.errors
    assert "sweep dry: 2 runs, 2 to run" in done.output
    assert [line for line in done.output.splitlines() if line.startswith("--- ")] == [
        "--- stage job",
        "--- array of 2 jobs",
        "--- collect job",
    ]
    assert "#SBATCH --array=0-1%2" in done.output
    assert launcher.slurm.jobs() == before
    assert not launcher.sweep("dry").folder.exists()


def test_a_sweeper_that_optimises_must_wait(launcher: Launcher) -> None:
    done = launcher.launch("-m", "model=cnn", "name=best", "hydra/sweeper=basic")
    assert done.code == 2
    assert done.errors == (
        "error: BasicSweeper chooses its next runs by the results of these; add wait=true, so "
        "that the launch stays until they have ended\n"
    )


def test_jobs_run_the_code_as_it_was_at_the_launch(launcher: Launcher) -> None:
    done = held(launcher, "cluster.snapshot=true")
    sweep = launcher.sweep("held")
    (code,) = [folder for folder in sweep.code.iterdir() if folder.is_dir()]
    script = launcher.slurm.run("scontrol", "write", "batch_script", done.array, "-").stdout
    assert f"export PYTHONPATH={code}" in script.replace("'", "")
    assert str(code / "jobs" / "run.py") in script.replace("'", "")


def test_sites_that_export_nothing_are_served(
    launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.environ.get("SBATCH_EXPORT"):
        pytest.skip("this site sets SBATCH_EXPORT itself")
    done = launcher.launch(
        "model=cnn",
        "name=bare",
        "cluster.setup=['echo \"exported: $SBATCH_EXPORTED_MARK\"']",
        environ=dict(os.environ) | {"SBATCH_EXPORT": "NONE", "SBATCH_EXPORTED_MARK": "yes"},
    )
    assert done.code == 0, done.errors
    launcher.slurm.wait(done.collect, 400)
    assert launcher.slurm.states(done.array) == {done.array: "COMPLETED"}
    (log,) = launcher.sweep("bare").slurm.glob("*-runs-*/*_log.out")
    assert "exported: \n" in log.read_text()
