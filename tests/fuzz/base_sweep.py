"""Make the sweep that is damaged: by a real launch and fake trainings, which need no TensorFlow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.faults.fake_training import MODEL, FakeTraining
from tests.fuzz.forked_command import run_command
from tests.report.fake_runs import FakeRun, running_attempt, started_fields, write_run
from xray_hpc.records import ledger
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_record import Status, update_record

NAME, OTHER = "damaged", "intact"
EPOCHS = 4
FINISHED = (1, 2)  # seeds of the runs that finish; they name the runs
FAILED, LOST, CREATED = 3, 4, 5
SUBMISSION = "runs-1"


def make_results(folder: Path) -> Path:
    """Make two sweeps in ``folder/results`` and return that folder.

    The commands find an idle Slurm cluster on ``PATH``. The sweep ``damaged`` has two finished
    runs, a failed one, one whose process was killed, and one that never started; it has a report.
    The sweep ``intact`` has a run that never started.
    """
    results = folder / "results"
    _add_slurm(folder / "bin")
    _launch(results, NAME, (*FINISHED, FAILED, LOST, CREATED))
    sweep = SweepPaths(results / NAME)
    runs = dict(zip((*FINISHED, FAILED, LOST, CREATED), ledger.read(sweep).planned, strict=True))
    _add_submission(sweep, list(runs.values()))
    for seed in (*FINISHED, FAILED, LOST):
        paths = sweep.run(runs[seed])
        update_record(paths, **started_fields(f"17_{seed - 1}", "finished"))
        _train(folder / f"training-{seed}", paths.folder, seed)
    update_record(sweep.run(runs[LOST]), status=Status.RUNNING, attempts=[running_attempt("17_3")])
    for run in runs.values():
        lease = sweep.run(run).lease
        lease.mkdir(exist_ok=True)
        (lease / "1").write_text("{}")
        os.utime(lease / "1", (0, 0))  # released
    _launch(results, OTHER, (1,))
    done = run_command("collect", str(sweep.folder), folder=folder)
    if done.code != 0:
        raise RuntimeError(f"the sweep cannot be collected: {done.error}")
    return results


def _add_slurm(folder: Path) -> None:
    """Put Slurm's commands on ``PATH``, which print nothing: the queue is empty."""
    folder.mkdir()
    for name in ("sinfo", "squeue", "sacct", "sbatch", "scancel", "scontrol"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


def _launch(results: Path, name: str, seeds: tuple[int, ...]) -> None:
    results.mkdir(parents=True, exist_ok=True)
    words = (f"model={MODEL}", f"seed={','.join(map(str, seeds))}", f"train.epochs={EPOCHS}")
    where = (f"results={results}", f"cache={results.parent / 'cache'}", f"name={name}")
    done = run_command("launch", "-m", *words, *where, "cluster=none", folder=results)
    if done.code != 0:
        raise RuntimeError(f"the sweep cannot be launched: {done.error}")


def _train(folder: Path, run: Path, seed: int) -> None:
    """Train a run to its end, or until it fails as ordered, with results that its seed decides."""
    fake = FakeTraining(folder)
    fake.prepare(seconds=0, epochs=EPOCHS)
    shutil.rmtree(fake.result_files)
    drawn = write_run(SweepPaths(folder / "drawn"), MODEL, FakeRun(epochs=EPOCHS, seed=seed))
    for path in (drawn.config, drawn.record, drawn.log):
        path.unlink()
    shutil.copytree(drawn.folder, fake.result_files)
    if seed == FAILED:
        fake.order(seed, "raise", epoch=2)
    if seed == LOST:
        fake.order(seed, "exit", epoch=2, amount=9)
    with (run / "log").open("ab") as log:
        subprocess.run(
            [sys.executable, "-m", "xray_hpc.training", str(run)],
            env=os.environ | fake.environment,
            stdout=log,
            stderr=log,
        )


def _add_submission(sweep: SweepPaths, runs: list[str]) -> None:
    """Add the files of a job that Slurm accepted and no longer lists."""
    tasks = [[run] for run in runs]
    ledger.append(
        sweep, "submitting", submission=SUBMISSION, kind="runs", tasks=tasks, user="somebody"
    )
    ledger.append(sweep, "submitted", submission=SUBMISSION, job="17")
    folder = sweep.slurm / SUBMISSION
    folder.mkdir(parents=True)
    (folder / "tasks.json").write_text(json.dumps(tasks))
    (folder / "job.sh").write_text("#!/bin/bash\n")
    (folder / "17_3.out").write_text("slurmstepd: error: *** JOB 17 ON node1 CANCELLED ***\n")
    (folder / "exit_code").write_text("3")
    (folder / "unrecorded_end.2").write_text("node failure")
