"""One sweep on Slurm with the real trainer, from its first launch to its last resume.

The module fixture trains the sweep once; each test checks a part of the result.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.slurm.client import Slurm
from tests.slurm.launcher import HELD, TIMEOUT_SECONDS, Launch, Launcher, quoted, record, run_name
from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.weights_files import weights_files
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_record import RunRecord, Status


@dataclass(frozen=True)
class LaunchResult:
    """A launch, and the sweep when its jobs have ended."""

    launch: Launch
    states: Mapping[str, str]
    jobs: Mapping[str, Mapping[str, str]]
    records: Mapping[str, RunRecord]
    rows: Mapping[str, Mapping[str, str]]
    report: str


@dataclass(frozen=True)
class History:
    """The launches of the sweep, in order, and their results."""

    sweep: SweepPaths
    first: Launch
    pending: Mapping[str, str]
    created: list[Status]
    while_pending: Launch
    with_failure: LaunchResult
    repaired: LaunchResult
    finished: Launch
    local: Launch
    new_jobs: set[str]


def wait_for_result(slurm: Slurm, sweep: SweepPaths, launch: Launch) -> LaunchResult:
    """Wait for the collect job; return the state of the sweep."""
    slurm.wait(launch.collect, TIMEOUT_SECONDS)
    states = slurm.states(launch.array)
    jobs = [launch.stage, launch.collect, *states]
    jobs += [launch.features] if "features job" in launch.output else []
    runs = [folder.name for folder in sweep.runs.iterdir()]
    with (sweep.report / "runs.csv").open(newline="") as table:
        rows = {row["run"]: row for row in csv.DictReader(table)}
    return LaunchResult(
        launch,
        states,
        {job: slurm.job(job) for job in jobs},
        {run: record(sweep, run) for run in runs},
        rows,
        (sweep.report / "report.md").read_text(),
    )


@pytest.fixture(scope="module")
def launcher(module_slurm: Slurm, module_folder: Path, image_cache: Path) -> Launcher:
    return Launcher(module_slurm, module_folder, module_folder / "results", image_cache)


@pytest.fixture(scope="module")
def history(launcher: Launcher) -> History:
    """Launch two models, one of which fails because its weights change while it is pending; then
    restore the weights and launch the sweep again with one more model."""
    slurm, sweep = launcher.slurm, launcher.sweep("models")
    weights = launcher.folder / "own.weights.h5"
    (shipped,) = weights_files(
        ModelConfig("ft", backbone="demo", weights="demo", preprocessing="backbone")
    ).values()
    shutil.copy(shipped, weights)
    words = ("name=models", f"model.weights={weights}")

    first = launcher.launch("-m", "model=cnn,ft", *words, HELD)
    assert first.code == 0, first.errors
    pending = slurm.states(first.array)
    created = [record(sweep, folder.name).status for folder in sweep.runs.iterdir()]
    while_pending = launcher.launch("-m", "model=cnn,ft", *words)

    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    slurm.run("scontrol", "release", first.array)
    with_failure = wait_for_result(slurm, sweep, first)

    weights.write_bytes(whole)
    second = launcher.launch("-m", "model=cnn,ft,tl", *words)
    assert second.code == 0, second.errors
    repaired = wait_for_result(slurm, sweep, second)

    before = slurm.jobs()
    finished = launcher.launch("-m", "model=cnn,ft,tl", *words)
    local_launch = launcher.launch("-m", "model=cnn,ft,tl", *words, "cluster=local")
    return History(
        sweep,
        first,
        pending,
        created,
        while_pending,
        with_failure,
        repaired,
        finished,
        local_launch,
        slurm.jobs() - before,
    )


def test_launch_returns_while_its_runs_are_pending(history: History) -> None:
    assert set(history.pending.values()) == {"PENDING"}
    assert history.created == [Status.CREATED, Status.CREATED]


def test_launch_prints_the_sweep_its_jobs_and_how_to_monitor_them(history: History) -> None:
    first = history.first
    cnn, ft = run_name(history.sweep, "cnn"), run_name(history.sweep, "ft")
    folders = ("note: results is in", "note: cache is in")  # depend on this machine
    lines = [line for line in first.output.splitlines() if not line.startswith(folders)]
    assert lines.pop(4).startswith("cached features: ")
    assert lines.pop(0).startswith("note: model.weights does not apply to cnn")
    assert lines == [
        "sweep models: 2 runs, 2 to start, in results/models",
        f"  {cnn}  start: new  (model=cnn)  learning rate 0.001",
        f"  {ft}  start: new  (model=ft)  learning rate 0.0003",
        f"submitted job {first.array}: array of 2 runs "
        f"(stage job {first.stage} first, collect job {first.collect} last)",
        "time limit of a job: 30 minutes",
        "monitor:",
        "  python -m xray_hpc.status results/models --watch",
        f"  python -m xray_hpc.logs results/models/runs/{cnn} -f",
        "report, when all have ended: results/models/report/report.md",
    ]
    assert first.errors == ""


def test_runs_are_the_tasks_of_one_array(history: History) -> None:
    array = history.first.array
    assert set(history.pending) == {f"{array}_0", f"{array}_1"}
    jobs = {run: record.job_ids for run, record in history.with_failure.records.items()}
    cnn, ft = run_name(history.sweep, "cnn"), run_name(history.sweep, "ft")
    assert jobs == {cnn: [f"{array}_0"], ft: [f"{array}_1"]}


def test_stage_job_ends_before_the_first_run_starts(history: History) -> None:
    jobs, first = history.with_failure.jobs, history.first
    assert jobs[first.stage]["JobState"] == "COMPLETED"
    starts = [jobs[task]["StartTime"] for task in history.with_failure.states]
    assert jobs[first.stage]["EndTime"] <= min(starts)
    assert len(list(history.sweep.data.glob("*/index.csv"))) == 1


def test_launching_again_leaves_pending_runs(history: History) -> None:
    again = history.while_pending
    assert again.code == 0
    for index, model in enumerate(("cnn", "ft")):
        decision = again.decision(run_name(history.sweep, model))
        assert decision.startswith(f"skip: pending as job {history.first.array}_{index} (")
    assert again.output.endswith("nothing to submit\n")


def test_failed_run_is_failed_in_slurm_and_in_its_record(history: History) -> None:
    task = f"{history.first.array}_1"
    assert history.with_failure.states[task] == "FAILED"
    assert history.with_failure.jobs[task]["ExitCode"] == "2:0"
    failed = history.with_failure.records[run_name(history.sweep, "ft")]
    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert failed.error.type == "DataError"
    assert "own.weights.h5 have changed since this run was created" in failed.error.message


def test_other_runs_finish_despite_a_failure(history: History) -> None:
    assert history.with_failure.states[f"{history.first.array}_0"] == "COMPLETED"
    run = run_name(history.sweep, "cnn")
    assert history.with_failure.records[run].status is Status.FINISHED
    assert history.with_failure.records[run].node == history.with_failure.jobs[
        f"{history.first.array}_0"
    ].get("NodeList")
    assert history.sweep.run(run).model.is_file()


def test_collect_job_starts_after_the_last_run(history: History) -> None:
    jobs = history.with_failure.jobs
    collect = jobs[history.first.collect]
    assert collect["JobState"] == "COMPLETED"
    assert collect["StartTime"] >= max(
        jobs[task]["EndTime"] for task in history.with_failure.states
    )


def test_report_lists_every_run_and_why_one_failed(history: History) -> None:
    cnn, ft = run_name(history.sweep, "cnn"), run_name(history.sweep, "ft")
    rows = history.with_failure.rows
    assert {run: row["status"] for run, row in rows.items()} == {cnn: "finished", ft: "failed"}
    assert float(rows[cnn]["test_accuracy"]) >= 0
    assert rows[ft]["test_accuracy"] == ""
    assert "own.weights.h5 have changed" in rows[ft]["error"]
    assert f"| {ft} | failed | bad data" in history.with_failure.report


def test_launching_with_one_more_model_runs_it_and_the_failed_run(history: History) -> None:
    again = history.repaired.launch
    cnn, ft, tl = (run_name(history.sweep, model) for model in ("cnn", "ft", "tl"))
    assert again.decision(cnn) == "skip: finished"
    assert again.decision(ft).startswith("start: failed before: ")
    assert again.decision(tl) == "start: new"
    assert history.repaired.states == {
        f"{again.array}_0": "COMPLETED",
        f"{again.array}_1": "COMPLETED",
    }
    assert history.repaired.records[cnn] == history.with_failure.records[cnn]
    repaired = history.repaired.records[ft]
    assert (repaired.restarts, repaired.error) == (1, None)
    assert repaired.job_ids == [f"{history.first.array}_1", f"{again.array}_0"]


def test_features_job_computes_shared_features_before_the_runs(history: History) -> None:
    second, jobs = history.repaired.launch, history.repaired.jobs
    assert jobs[second.features]["JobState"] == "COMPLETED"
    starts = [jobs[task]["StartTime"] for task in history.repaired.states]
    assert jobs[second.features]["EndTime"] <= min(starts)
    logs = [
        (history.sweep.run(run_name(history.sweep, name)).log).read_text() for name in ("ft", "tl")
    ]
    assert not any("computing" in log for log in logs)


def test_launch_without_shared_features_has_no_features_job(history: History) -> None:
    assert "features job" not in history.first.output


def test_second_report_compares_old_and_new_runs(history: History) -> None:
    assert [row["status"] for row in history.repaired.rows.values()] == ["finished"] * 3
    assert "Runs without a result" not in history.repaired.report


def test_launching_a_finished_sweep_submits_nothing(history: History) -> None:
    assert history.finished.code == 0
    assert history.finished.output.count("  skip: finished") == 3
    assert history.finished.output.endswith("nothing to submit\n")
    assert history.new_jobs == set()


def test_cluster_local_collects_without_slurm(history: History) -> None:
    assert history.local.code == 0, history.local.errors
    assert "3 runs: 3 finished" in history.local.output
    assert "submitted" not in history.local.output
    assert history.new_jobs == set()


def test_job_has_the_configured_resources(slurm: Slurm, launcher: Launcher) -> None:
    if not slurm.is_throwaway:
        pytest.skip("needs a throw-away cluster")
    done = launcher.launch(
        "model=cnn",
        "name=request",
        "cluster.partition=high",
        "cluster.account=chest",
        "cluster.qos=long",
        'cluster.time="1:30:00"',
        "cluster.gpus=2",
        "cluster.cpus=3",
        "cluster.mem=3G",
        "cluster.constraint=drawn",
        "cluster.extra={hold: true, nice: 7, comment: two words}",
        "cluster.cpu_job.partition=main",
        "cluster.cpu_job.time=5",
    )
    assert done.code == 0, done.errors
    job, stage = slurm.job(done.array), slurm.job(done.stage)
    expected = {
        "JobName": "xray-request",
        "Partition": "high",
        "Account": "chest",
        "TimeLimit": "01:30:00",
        "NumCPUs": "3",
        "CPUs/Task": "3",
        "MinMemoryNode": "3G",
        "Features": "drawn",
        "TresPerNode": "gres:gpu:2",
        "Nice": "7",
        "Comment": "two",  # of "two words", job() returns the first
    }
    assert {key: job.get(key) for key in expected} == expected
    assert (stage["Partition"], stage["TimeLimit"], stage["NumCPUs"]) == ("main", "00:05:00", "1")
    assert "--qos=long" in slurm.run("scontrol", "write", "batch_script", done.array, "-").stdout


def test_launch_refuses_an_unknown_partition_in_one_line(slurm: Slurm, launcher: Launcher) -> None:
    before = slurm.jobs()
    done = launcher.launch("model=cnn", "name=nowhere", "cluster.partition=nosuch")
    assert done.code == 2
    assert done.errors.count("\n") == 1
    assert done.errors.startswith("error: cluster.partition 'nosuch' is unknown")
    assert slurm.jobs() == before
    assert not launcher.sweep("nowhere").folder.exists()


REFUSING = """\
#!/bin/sh
case "$*" in
    *-runs-*) echo "sbatch: error: the site's own reason" >&2; exit 1;;
esac
exec {sbatch} "$@"
"""


def test_launch_cancels_the_stage_job_if_the_runs_are_refused(
    slurm: Slurm, launcher: Launcher, tmp_path: Path
) -> None:
    before = slurm.jobs()
    fake = tmp_path / "sbatch"
    fake.write_text(REFUSING.format(sbatch=shutil.which("sbatch")))
    fake.chmod(0o755)
    environ = dict(os.environ) | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = launcher.launch("-m", "model=cnn", "seed=1,2", "name=refused", environ=environ)
    assert done.code == 2
    assert "the site's own reason" in done.errors
    assert slurm.jobs() == before
    assert not launcher.sweep("refused").folder.exists()


def test_launch_refuses_a_folder_name_that_slurm_misreads(slurm: Slurm, launcher: Launcher) -> None:
    folder = launcher.results / "50%j"
    done = launcher.launch("model=cnn", "name=s", f"results='{folder}'")
    assert done.code == 2
    assert done.errors.startswith("error: ")
    assert str(folder) in done.errors
    assert not folder.exists()


@dataclass(frozen=True)
class Nested:
    """One run launched inside a job, into folders whose names need quoting."""

    launcher: Launcher
    sweep: SweepPaths
    launch: Launch
    states: Mapping[str, str]
    job: Mapping[str, str]
    trace: list[str]


@pytest.fixture(scope="module")
def nested(module_slurm: Slurm, module_folder: Path, image_cache: Path) -> Nested:
    trace, container = module_folder / "trace", module_folder / "container"
    container.write_text(f'#!/bin/sh\necho "$SLURM_JOB_NAME|$SETUP" >> {trace}\nexec "$@"\n')
    container.chmod(0o755)
    launcher = Launcher(
        module_slurm, module_folder, module_folder / 'it\'s "a" $(touch pwned) b,c=d', image_cache
    )
    name = "lr=1e-3+depth_2.0"
    launch = launcher.launch(
        "model=cnn",
        f"name={quoted(name)}",
        "cluster.setup=['export SETUP=\"a b\"']",
        f"cluster.container='env MARK=1 {container}'",
        f"cluster.python={quoted(sys.executable)}",
        before=["srun", "--mem=1G", "--cpus-per-task=3", "--job-name=outer"],
    )
    assert launch.code == 0, launch.errors
    module_slurm.wait(launch.collect, TIMEOUT_SECONDS)
    return Nested(
        launcher,
        launcher.sweep(name),
        launch,
        module_slurm.states(launch.array),
        module_slurm.job(launch.array),
        trace.read_text().splitlines(),
    )


def test_single_run_is_not_an_array(nested: Nested) -> None:
    job = nested.launch.array
    assert f"submitted job {job}: run (stage job" in nested.launch.output
    assert nested.states == {job: "COMPLETED"}
    assert "ArrayJobId" not in nested.job


def test_job_launched_inside_a_job_inherits_nothing(nested: Nested) -> None:
    assert nested.job["NumCPUs"] == "1"
    assert nested.job["MinMemoryNode"] == "2G"
    (folder,) = nested.sweep.runs.iterdir()
    found = record(nested.sweep, folder.name)
    assert (found.status, found.job_id) == (Status.FINISHED, nested.launch.array)


def test_every_job_runs_setup_and_the_container(nested: Nested) -> None:
    name = nested.sweep.name
    preflight, *jobs = nested.trace
    assert preflight == "outer|a b"
    assert jobs == [f"stage-{name}|a b", f"xray-{name}|a b", f"collect-{name}|a b"]


def test_names_may_have_spaces_quotes_and_dollars(nested: Nested) -> None:
    assert (nested.sweep.report / "report.md").is_file()
    logs = [path.read_text() for path in nested.sweep.slurm.glob("*/*_log.out")]
    assert len(logs) == 3
    assert not list(nested.launcher.folder.rglob("pwned"))
