"""One sweep launched on Slurm with the real trainer, from its first launch to its last resume.

The sweep is trained once; each test looks at another part of what happened.
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
from tests.slurm.launching import HELD, PATIENCE, Launch, Launcher, quoted, record, run_of
from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.weights_files import weights_files
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_record import RunRecord, Status


@dataclass(frozen=True)
class Round:
    """A launch and how its jobs ended."""

    launch: Launch
    states: Mapping[str, str]
    jobs: Mapping[str, Mapping[str, str]]
    records: Mapping[str, RunRecord]
    rows: Mapping[str, Mapping[str, str]]
    report: str


@dataclass(frozen=True)
class Story:
    """All that happened to the sweep."""

    sweep: SweepPaths
    first: Launch
    waiting: Mapping[str, str]
    untouched: list[Status]
    in_flight: Launch
    one_fails: Round
    mended: Round
    all_done: Launch
    here: Launch
    queued_by_these: set[str]


def conclude(slurm: Slurm, sweep: SweepPaths, launch: Launch) -> Round:
    """Wait for the collect job, and keep how things stand then."""
    slurm.wait(launch.collect, PATIENCE)
    states = slurm.states(launch.array)
    jobs = [launch.stage, launch.collect, *states]
    jobs += [launch.features] if "features job" in launch.output else []
    runs = [folder.name for folder in sweep.runs.iterdir()]
    with (sweep.report / "runs.csv").open(newline="") as table:
        rows = {row["run"]: row for row in csv.DictReader(table)}
    return Round(
        launch,
        states,
        {job: slurm.job(job) for job in jobs},
        {run: record(sweep, run) for run in runs},
        rows,
        (sweep.report / "report.md").read_text(),
    )


@pytest.fixture(scope="module")
def launcher(file_slurm: Slurm, file_shared: Path, packed: Path) -> Launcher:
    return Launcher(file_slurm, file_shared, file_shared / "results", packed)


@pytest.fixture(scope="module")
def story(launcher: Launcher) -> Story:
    """Two models launched, one of which fails, for its weights changed while it waited; then the
    weights are put back, and the sweep launched again with one more model."""
    slurm, sweep = launcher.slurm, launcher.sweep("models")
    weights = launcher.folder / "own.weights.h5"
    (shipped,) = weights_files(
        ModelConfig("ft", backbone="demo", weights="demo", preprocessing="backbone")
    ).values()
    shutil.copy(shipped, weights)
    words = ("name=models", f"model.weights={weights}")

    first = launcher.launch("-m", "model=cnn,ft", *words, HELD)
    assert first.code == 0, first.errors
    waiting = slurm.states(first.array)
    untouched = [record(sweep, folder.name).status for folder in sweep.runs.iterdir()]
    in_flight = launcher.launch("-m", "model=cnn,ft", *words)

    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    slurm.run("scontrol", "release", first.array)
    one_fails = conclude(slurm, sweep, first)

    weights.write_bytes(whole)
    second = launcher.launch("-m", "model=cnn,ft,tl", *words)
    assert second.code == 0, second.errors
    mended = conclude(slurm, sweep, second)

    before = slurm.jobs()
    all_done = launcher.launch("-m", "model=cnn,ft,tl", *words)
    here = launcher.launch("-m", "model=cnn,ft,tl", *words, "cluster=local")
    return Story(
        sweep,
        first,
        waiting,
        untouched,
        in_flight,
        one_fails,
        mended,
        all_done,
        here,
        slurm.jobs() - before,
    )


def test_a_launch_returns_while_its_runs_wait(story: Story) -> None:
    assert set(story.waiting.values()) == {"PENDING"}
    assert story.untouched == [Status.CREATED, Status.CREATED]


def test_a_launch_names_the_sweep_its_jobs_and_how_to_watch(story: Story) -> None:
    first = story.first
    cnn, ft = run_of(story.sweep, "cnn"), run_of(story.sweep, "ft")
    local = ("note: results is in", "note: cache is in")  # of this machine's /tmp
    lines = [line for line in first.output.splitlines() if not line.startswith(local)]
    assert lines.pop(4).startswith("cached features: one pass over the images for 1 run, ")
    assert lines == [
        "note: model.weights does not apply to cnn; left out",
        "sweep models: 2 runs, 2 to run, in results/models",
        f"  {cnn}  run: new  (model=cnn)",
        f"  {ft}  run: new  (model=ft)",
        f"submitted job {first.array}: array of 2 runs "
        f"(stage job {first.stage} first, collect job {first.collect} last)",
        "monitor:",
        "  python -m xray_hpc.status results/models --watch",
        f"  python -m xray_hpc.logs results/models/runs/{cnn} -f",
        "report, when all have ended: results/models/report/report.md",
    ]
    assert first.errors == ""


def test_the_runs_are_the_tasks_of_one_array(story: Story) -> None:
    array = story.first.array
    assert set(story.waiting) == {f"{array}_0", f"{array}_1"}
    jobs = {run: record.job_ids for run, record in story.one_fails.records.items()}
    cnn, ft = run_of(story.sweep, "cnn"), run_of(story.sweep, "ft")
    assert jobs == {cnn: [f"{array}_0"], ft: [f"{array}_1"]}


def test_the_stage_job_is_over_before_the_first_run_starts(story: Story) -> None:
    jobs, first = story.one_fails.jobs, story.first
    assert jobs[first.stage]["JobState"] == "COMPLETED"
    starts = [jobs[task]["StartTime"] for task in story.one_fails.states]
    assert jobs[first.stage]["EndTime"] <= min(starts)
    assert len(list(story.sweep.data.glob("*/index.csv"))) == 1


def test_launching_again_leaves_runs_that_are_queued(story: Story) -> None:
    again = story.in_flight
    assert again.code == 0
    for index, model in enumerate(("cnn", "ft")):
        decision = again.decision(run_of(story.sweep, model))
        assert decision.startswith(f"leave: pending as job {story.first.array}_{index} (")
    assert again.output.endswith("nothing to submit\n")


def test_a_run_that_fails_is_failed_in_slurm_and_in_its_record(story: Story) -> None:
    task = f"{story.first.array}_1"
    assert story.one_fails.states[task] == "FAILED"
    assert story.one_fails.jobs[task]["ExitCode"] == "2:0"
    failed = story.one_fails.records[run_of(story.sweep, "ft")]
    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert failed.error["type"] == "DataError"
    assert "own.weights.h5 have changed since this run was created" in failed.error["message"]


def test_the_other_runs_finish_all_the_same(story: Story) -> None:
    assert story.one_fails.states[f"{story.first.array}_0"] == "COMPLETED"
    run = run_of(story.sweep, "cnn")
    assert story.one_fails.records[run].status is Status.FINISHED
    assert story.one_fails.records[run].node == story.one_fails.jobs[f"{story.first.array}_0"].get(
        "NodeList"
    )
    assert story.sweep.run(run).model.is_file()


def test_the_collect_job_starts_when_the_last_run_has_ended(story: Story) -> None:
    jobs = story.one_fails.jobs
    collect = jobs[story.first.collect]
    assert collect["JobState"] == "COMPLETED"
    assert collect["StartTime"] >= max(jobs[task]["EndTime"] for task in story.one_fails.states)


def test_the_report_lists_every_run_and_why_one_failed(story: Story) -> None:
    cnn, ft = run_of(story.sweep, "cnn"), run_of(story.sweep, "ft")
    rows = story.one_fails.rows
    assert {run: row["status"] for run, row in rows.items()} == {cnn: "finished", ft: "failed"}
    assert float(rows[cnn]["test_accuracy"]) >= 0
    assert rows[ft]["test_accuracy"] == ""
    assert "own.weights.h5 have changed" in rows[ft]["error"]
    assert f"| {ft} | failed | bad data" in story.one_fails.report


def test_launching_with_one_more_model_runs_that_and_what_failed(story: Story) -> None:
    again = story.mended.launch
    cnn, ft, tl = (run_of(story.sweep, model) for model in ("cnn", "ft", "tl"))
    assert again.decision(cnn) == "leave: finished"
    assert again.decision(ft).startswith("run: again; it failed: DataError: ")
    assert again.decision(tl) == "run: new"
    assert story.mended.states == {
        f"{again.array}_0": "COMPLETED",
        f"{again.array}_1": "COMPLETED",
    }
    assert story.mended.records[cnn] == story.one_fails.records[cnn]
    mended = story.mended.records[ft]
    assert (mended.restarts, mended.error) == (1, None)
    assert mended.job_ids == [f"{story.first.array}_1", f"{again.array}_0"]


def test_what_runs_share_of_a_feature_extractor_is_computed_in_a_job_before_them(
    story: Story,
) -> None:
    second, jobs = story.mended.launch, story.mended.jobs
    assert jobs[second.features]["JobState"] == "COMPLETED"
    starts = [jobs[task]["StartTime"] for task in story.mended.states]
    assert jobs[second.features]["EndTime"] <= min(starts)
    logs = [(story.sweep.run(run_of(story.sweep, name)).log).read_text() for name in ("ft", "tl")]
    assert not any("computing" in log for log in logs)


def test_a_run_that_shares_no_feature_extractor_has_no_job_before_it_but_the_stage_job(
    story: Story,
) -> None:
    assert "features job" not in story.first.output


def test_the_report_of_the_second_launch_compares_old_and_new_runs(story: Story) -> None:
    assert [row["status"] for row in story.mended.rows.values()] == ["finished"] * 3
    assert "Runs without a result" not in story.mended.report


def test_launching_a_finished_sweep_again_submits_nothing(story: Story) -> None:
    assert story.all_done.code == 0
    assert story.all_done.output.count("  leave: finished") == 3
    assert story.all_done.output.endswith("nothing to submit\n")
    assert story.queued_by_these == set()


def test_cluster_local_collects_here_although_there_is_slurm(story: Story) -> None:
    assert story.here.code == 0, story.here.errors
    assert "3 runs: 3 finished" in story.here.output
    assert "submitted" not in story.here.output
    assert story.queued_by_these == set()


def test_what_the_config_asks_for_arrives_at_slurm(slurm: Slurm, launcher: Launcher) -> None:
    if not slurm.own:
        pytest.skip("a site's cluster has other partitions, features and accounts")
    done = launcher.launch(
        "model=cnn",
        "name=asking",
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
    wanted = {
        "JobName": "xray-asking",
        "Partition": "high",
        "Account": "chest",
        "TimeLimit": "01:30:00",
        "NumCPUs": "3",
        "CPUs/Task": "3",
        "MinMemoryNode": "3G",
        "Features": "drawn",
        "TresPerNode": "gres:gpu:2",
        "Nice": "7",
        "Comment": "two",  # "two words", of which job() keeps the first
    }
    assert {key: job.get(key) for key in wanted} == wanted
    assert (stage["Partition"], stage["TimeLimit"], stage["NumCPUs"]) == ("main", "00:05:00", "1")
    assert "--qos=long" in slurm.run("scontrol", "write", "batch_script", done.array, "-").stdout


def test_what_the_cluster_lacks_is_said_in_one_line(slurm: Slurm, launcher: Launcher) -> None:
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


def test_when_the_runs_are_refused_the_stage_job_is_taken_back(
    slurm: Slurm, launcher: Launcher, tmp_path: Path
) -> None:
    before = slurm.jobs()
    stand_in = tmp_path / "sbatch"
    stand_in.write_text(REFUSING.format(sbatch=shutil.which("sbatch")))
    stand_in.chmod(0o755)
    environ = dict(os.environ) | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = launcher.launch("-m", "model=cnn", "seed=1,2", "name=refused", environ=environ)
    assert done.code == 2
    assert done.errors == "error: sbatch refused the job: the site's own reason\n"
    assert slurm.jobs() == before
    assert not launcher.sweep("refused").folder.exists()


def test_a_folder_that_slurm_would_misread_is_refused_before_anything_is_made(
    slurm: Slurm, launcher: Launcher
) -> None:
    done = launcher.launch("model=cnn", "name='50%j'")
    assert done.code == 2
    folder = launcher.results / "50%j"
    assert done.errors == (
        f"error: Slurm cannot write logs to {folder}, for the % in its name; choose other "
        "results or another name\n"
    )
    assert not folder.exists()


@dataclass(frozen=True)
class Nested:
    """One run launched from inside a job, into folders with dirty names."""

    launcher: Launcher
    sweep: SweepPaths
    launch: Launch
    states: Mapping[str, str]
    job: Mapping[str, str]
    trace: list[str]


@pytest.fixture(scope="module")
def nested(file_slurm: Slurm, file_shared: Path, packed: Path) -> Nested:
    trace, container = file_shared / "trace", file_shared / "container"
    container.write_text(f'#!/bin/sh\necho "$SLURM_JOB_NAME|$SETUP" >> {trace}\nexec "$@"\n')
    container.chmod(0o755)
    launcher = Launcher(
        file_slurm, file_shared, file_shared / 'it\'s "a" $(touch pwned) b,c=d', packed
    )
    name = 'lr; "depth" $(touch pwned)'
    launch = launcher.launch(
        "model=cnn",
        f"name={quoted(name)}",
        "cluster.setup=['export SETUP=\"a b\"']",
        f"cluster.container='env MARK=1 {container}'",
        f"cluster.python={quoted(sys.executable)}",
        before=["srun", "--mem=1G", "--cpus-per-task=3", "--job-name=outer"],
    )
    assert launch.code == 0, launch.errors
    file_slurm.wait(launch.collect, PATIENCE)
    return Nested(
        launcher,
        launcher.sweep(name),
        launch,
        file_slurm.states(launch.array),
        file_slurm.job(launch.array),
        trace.read_text().splitlines(),
    )


def test_a_single_run_is_a_job_that_is_no_array(nested: Nested) -> None:
    job = nested.launch.array
    assert f"submitted job {job}: run (stage job" in nested.launch.output
    assert nested.states == {job: "COMPLETED"}
    assert "ArrayJobId" not in nested.job


def test_a_job_launched_from_inside_a_job_inherits_nothing_of_it(nested: Nested) -> None:
    assert nested.job["NumCPUs"] == "1"
    assert nested.job["MinMemoryNode"] == "2G"
    (folder,) = nested.sweep.runs.iterdir()
    found = record(nested.sweep, folder.name)
    assert (found.status, found.job_id) == (Status.FINISHED, nested.launch.array)


def test_setup_lines_and_the_container_stand_before_every_job(nested: Nested) -> None:
    name = nested.sweep.name
    tried_at_the_launch, *jobs = nested.trace
    assert tried_at_the_launch == "outer|a b"
    assert jobs == [
        f"stage-{name}|a b",
        f"xray-{name}|a b",
        f"collect-{name}|a b",
    ]


def test_names_with_spaces_quotes_and_dollars_are_only_names(nested: Nested) -> None:
    assert (nested.sweep.report / "report.md").is_file()
    logs = [path.read_text() for path in nested.sweep.slurm.glob("*/*_log.out")]
    assert len(logs) == 3
    assert not list(nested.launcher.folder.rglob("pwned"))
