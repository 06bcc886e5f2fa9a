from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xray_hpc.cluster.slurm import QueuedJob, parse_queue
from xray_hpc.cluster.states import decide
from xray_hpc.runs.files import locked
from xray_hpc.runs.paths import SPLITS, RunPaths
from xray_hpc.runs.record import RunRecord, Status, write_record

QUEUE = {"7_0": QueuedJob("PENDING", "Priority"), "7_1": QueuedJob("RUNNING", "None")}


def run(folder: Path, **fields: Any) -> RunPaths:
    paths = RunPaths(folder / "sweep" / "runs" / "ft-00000000")
    write_record(paths, RunRecord("ft-00000000", "sweep", "ft", **fields))
    return paths


def test_a_run_without_a_record_is_new(tmp_path: Path) -> None:
    decision = decide(RunPaths(tmp_path / "runs" / "ft-00000000"), None, {})
    assert (decision.run, decision.why) == (True, "new")


def finished(folder: Path) -> RunPaths:
    paths = run(folder, status=Status.FINISHED)
    for path in (paths.accuracy("ft"), paths.loss("ft"), paths.auc("ft")):
        path.touch()
    for split in SPLITS:
        paths.scores("ft", split).touch()
        paths.roc("ft", split).touch()
    paths.metrics.write_text("{}")
    return paths


def test_a_finished_run_is_left(tmp_path: Path) -> None:
    decision = decide(finished(tmp_path), "7_0", QUEUE)
    assert (decision.run, decision.why) == (False, "finished")


@pytest.mark.parametrize("table", ["ft_test_roc.csv", "ft_auc_per_epoch.csv"])
def test_a_finished_run_that_lost_a_table_runs_again(tmp_path: Path, table: str) -> None:
    paths = finished(tmp_path)
    (paths.folder / table).unlink()
    decision = decide(paths, None, {})
    assert (decision.run, decision.why) == (True, f"again; {table} is missing")


def test_a_run_whose_record_or_metrics_are_damaged_runs_again(tmp_path: Path) -> None:
    paths = finished(tmp_path)
    paths.metrics.write_text("{torn")
    assert decide(paths, None, {}).why == "again; its metrics.json is damaged"
    paths.record.write_text("{torn")
    assert decide(paths, None, {}).why == "again; its run.json is damaged"


@pytest.mark.parametrize(
    ("job", "why"), [("7_0", "pending as job 7_0 (Priority)"), ("7_1", "running as job 7_1")]
)
def test_a_run_in_the_queue_is_left_and_its_job_named(tmp_path: Path, job: str, why: str) -> None:
    decision = decide(run(tmp_path, status=Status.RUNNING), job, QUEUE)
    assert (decision.run, decision.why) == (False, why)


def test_a_run_whose_lock_is_held_is_left(tmp_path: Path) -> None:
    paths = run(tmp_path, status=Status.RUNNING, node="node7")
    with locked(paths.lock):
        decision = decide(paths, None, {})
    assert (decision.run, decision.why) == (False, "running on node7")


def test_a_run_that_nobody_works_on_runs_again(tmp_path: Path) -> None:
    decision = decide(run(tmp_path, status=Status.RUNNING), "3", QUEUE)
    assert (decision.run, decision.why) == (True, "again; it was interrupted")


def test_a_failed_run_runs_again_and_the_error_is_named(tmp_path: Path) -> None:
    error = {"type": "ValueError", "message": "odd"}
    decision = decide(run(tmp_path, status=Status.FAILED, error=error), None, {})
    assert (decision.run, decision.why) == (True, "again; it failed: ValueError: odd")


def test_a_run_that_was_only_prepared_runs(tmp_path: Path) -> None:
    decision = decide(run(tmp_path), None, {})
    assert (decision.run, decision.why) == (True, "never ran")


def test_squeue_is_read_line_by_line_and_odd_reasons_survive() -> None:
    text = "7_0|PENDING|Resources\n8|RUNNING|None\n9|PENDING|(a|b)\nnoise\n"
    assert parse_queue(text) == {
        "7_0": QueuedJob("PENDING", "Resources"),
        "8": QueuedJob("RUNNING", "None"),
        "9": QueuedJob("PENDING", "(a|b)"),
    }
