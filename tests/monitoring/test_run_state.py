from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.run_folders import run_metrics
from xray_hpc.monitoring.run_state import (
    LaunchDecision,
    RunEvidence,
    State,
    decide_launch,
    read_evidence,
    state_of,
)
from xray_hpc.records.json_record import write_json_record
from xray_hpc.records.lease import Lease
from xray_hpc.records.lease_file import LeaseOwner
from xray_hpc.records.ledger import JobRef
from xray_hpc.records.paths import SPLITS, RunPaths
from xray_hpc.records.run_record import Attempt, ErrorInfo, Failure, RunRecord, Status, write_record
from xray_hpc.slurm.client import QueuedJob

SCRIPT = "/results/sweep/slurm/first/job.sh"
QUEUE = {
    "7_0": QueuedJob("PENDING", "Priority", script=SCRIPT),
    "7_1": QueuedJob("RUNNING", "None", "node3", script=SCRIPT),
}
BEFORE, NOON, AFTER = (f"2026-01-01T{hour}:00:00+00:00" for hour in ("11", "12", "13"))


def record(**fields: Any) -> RunRecord:
    return RunRecord("ft-00000000", "sweep", "ft", **fields)


def run(folder: Path, **fields: Any) -> RunPaths:
    paths = RunPaths(folder / "sweep" / "runs" / "ft-00000000")
    paths.folder.mkdir(parents=True, exist_ok=True)
    write_record(paths, record(**fields))
    return paths


def finished(folder: Path) -> RunPaths:
    paths = run(folder, status=Status.FINISHED)
    for path in (paths.accuracy("ft"), paths.loss("ft"), paths.auc("ft")):
        path.touch()
    for split in SPLITS:
        paths.scores("ft", split).touch()
        paths.roc("ft", split).touch()
    write_json_record(paths.metrics, run_metrics())
    return paths


def test_run_without_a_record_is_new(tmp_path: Path) -> None:
    decision = decide_launch(read_evidence(RunPaths(tmp_path / "runs" / "ft-00000000"), None, {}))
    assert (decision.run, decision.reason) == (True, "new")


def test_finished_run_is_not_launched(tmp_path: Path) -> None:
    decision = decide_launch(read_evidence(finished(tmp_path), JobRef("7_0", "first"), QUEUE))
    assert (decision.run, decision.reason) == (False, "finished")


@pytest.mark.parametrize("table", ["ft_test_roc.csv", "ft_auc_per_epoch.csv", "metrics.json"])
def test_finished_run_without_a_table_is_launched(tmp_path: Path, table: str) -> None:
    paths = finished(tmp_path)
    (paths.folder / table).unlink()
    decision = decide_launch(read_evidence(paths, None, {}))
    assert (decision.run, decision.reason) == (True, f"{table} is missing")


def test_damaged_run_is_launched(tmp_path: Path) -> None:
    paths = finished(tmp_path)
    paths.metrics.write_text("{torn")
    decision = decide_launch(read_evidence(paths, None, {}))
    assert (decision.run, decision.reason.split()[0]) == (True, paths.metrics.name)
    paths.record.write_text("{torn")
    decision = decide_launch(read_evidence(paths, None, {}))
    assert (decision.run, decision.reason.split()[0]) == (True, paths.record.name)


@pytest.mark.parametrize("name", ["run.json", "metrics.json", ".lease"])
@pytest.mark.parametrize("damage", ["FIFO", "link loop"])
def test_unreadable_run_is_not_launched(tmp_path: Path, name: str, damage: str) -> None:
    paths = finished(tmp_path)
    if name == ".lease":
        write_record(paths, record(status=Status.FAILED))
    (paths.folder / name).unlink(missing_ok=True)
    if damage == "FIFO":
        os.mkfifo(paths.folder / name)
    else:
        (paths.folder / name).symlink_to(name)
    evidence = read_evidence(paths)
    assert state_of(evidence) is State.UNREADABLE
    assert name in (evidence.damage or "")
    assert decide_launch(evidence) == LaunchDecision(False, evidence.damage or "", blocked=True)


def test_copy_of_a_run_is_damaged(tmp_path: Path) -> None:
    paths = finished(tmp_path)
    copy = RunPaths(paths.folder.rename(paths.folder.with_name("ft-11111111")))
    evidence = read_evidence(copy)
    assert state_of(evidence) is State.DAMAGED
    assert paths.name in decide_launch(evidence).reason


@pytest.mark.parametrize(
    ("job", "reason"), [("7_0", "pending as job 7_0 (Priority)"), ("7_1", "running as job 7_1")]
)
def test_queued_run_is_not_launched(tmp_path: Path, job: str, reason: str) -> None:
    decision = decide_launch(
        read_evidence(run(tmp_path, status=Status.RUNNING), JobRef(job, "first"), QUEUE)
    )
    assert (decision.run, decision.reason) == (False, reason)


def test_run_with_a_live_owner_is_not_launched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    paths = run(tmp_path, status=Status.RUNNING)
    with Lease.acquire(paths.lease):
        decision = decide_launch(read_evidence(paths, None, {}))
    assert (decision.run, decision.reason) == (False, "running on node7")


def test_lost_run_is_launched(tmp_path: Path) -> None:
    decision = decide_launch(
        read_evidence(run(tmp_path, status=Status.RUNNING), JobRef("3", "first"), QUEUE)
    )
    assert (decision.run, decision.reason) == (True, "interrupted before")


def test_failed_run_is_launched_with_its_error_as_reason(tmp_path: Path) -> None:
    error = ErrorInfo("ValueError", "odd")
    decision = decide_launch(
        read_evidence(run(tmp_path, status=Status.FAILED, error=error), None, {})
    )
    assert (decision.run, decision.reason) == (True, "failed before: ValueError: odd")


def test_long_error_of_a_failed_run_ends_in_dots(tmp_path: Path) -> None:
    error = ErrorInfo("ValueError", "odd " * 50)
    paths = run(tmp_path, status=Status.FAILED, error=error)
    reason = decide_launch(read_evidence(paths, None, {})).reason
    assert reason.endswith("...")
    assert len(reason) == len("failed before: ") + 90


def test_created_run_is_launched(tmp_path: Path) -> None:
    decision = decide_launch(read_evidence(run(tmp_path), None, {}))
    assert (decision.run, decision.reason) == (True, "never started")


def test_cancelled_run_is_launched(tmp_path: Path) -> None:
    by_record = run(tmp_path, status=Status.INTERRUPTED, failure="cancelled")
    assert decide_launch(read_evidence(by_record, None, {})).reason == "cancelled before"
    by_ledger = run(tmp_path)
    assert (
        decide_launch(read_evidence(by_ledger, None, {}, cancelled=100)).reason
        == "cancelled before"
    )


def test_with_queue_finds_the_job_of_a_template(tmp_path: Path) -> None:
    evidence = read_evidence(run(tmp_path, status=Status.RUNNING, job_id="9"))
    assert evidence.with_queue(None, {"9": QueuedJob("RUNNING", "None")}).job == "9"
    assert (
        evidence.with_queue(JobRef("7_0", "first"), {"9": QueuedJob("RUNNING", "None")}).job == "9"
    )


@pytest.mark.parametrize(
    ("known", "script"),
    [
        (JobRef("7", "first"), "/results/another/slurm/second/job.sh"),
        (JobRef("7", "first"), "/home/me/job.sh"),
        (None, SCRIPT),
    ],
)
def test_with_queue_ignores_unrelated_jobs_with_the_same_id(
    tmp_path: Path, known: JobRef | None, script: str
) -> None:
    paths = run(tmp_path, status=Status.RUNNING, job_id="7")
    other = {"7": QueuedJob("RUNNING", "None", "node3", script=script)}
    assert read_evidence(paths).with_queue(known, other).job is None
    assert decide_launch(read_evidence(paths, known, other)).run


QUEUED = QUEUE["7_1"]
PENDING = QUEUE["7_0"]
OWNER = LeaseOwner("host", "user", 1, NOON)
OF_THE_JOB = {"job": "7_1", "queued": QUEUED}


@pytest.mark.parametrize(
    ("evidence", "state"),
    [
        (RunEvidence(None), State.MISSING),
        (RunEvidence(record()), State.CREATED),
        (RunEvidence(record(status=Status.RUNNING)), State.LOST),
        (RunEvidence(record(status=Status.INTERRUPTED)), State.INTERRUPTED),
        (RunEvidence(None, damage="torn"), State.DAMAGED),
        (RunEvidence(record(status=Status.FINISHED), damage="torn"), State.DAMAGED),
        (RunEvidence(record(status=Status.FINISHED), **OF_THE_JOB), State.FINISHED),
        (RunEvidence(record(status=Status.INTERRUPTED), job="7_0", queued=PENDING), State.PENDING),
        (RunEvidence(record(status=Status.INTERRUPTED), owner=OWNER), State.RUNNING),
        (RunEvidence(record(status=Status.RUNNING, job_id="7_1"), **OF_THE_JOB), State.RUNNING),
    ],
)
def test_state_of_prefers_live_evidence(evidence: RunEvidence, state: State) -> None:
    assert state_of(evidence) is state


def test_run_later_in_a_running_job_is_pending() -> None:
    assert state_of(RunEvidence(record(), **OF_THE_JOB)) is State.PENDING


def test_failed_run_in_a_running_job_is_failed() -> None:
    over = record(status=Status.FAILED, job_id="7_1", attempts=[Attempt(NOON, "node3", "7_1")])
    assert state_of(RunEvidence(over, **OF_THE_JOB)) is State.FAILED
    assert not decide_launch(RunEvidence(over, **OF_THE_JOB)).run


def test_requeued_run_is_pending_until_it_starts() -> None:
    again = Attempt(NOON, "node3", "7_1", failure="out_of_memory", requeued=True)
    evidence = RunEvidence(
        record(status=Status.FAILED, job_id="7_1", attempts=[again]), **OF_THE_JOB
    )
    assert state_of(evidence) is State.PENDING


def test_cancelled_run_of_a_completing_job_is_cancelled() -> None:
    ending = QueuedJob("COMPLETING", "None")
    evidence = RunEvidence(record(job_id="7_1"), job="7_1", queued=ending, cancelled=100)
    assert state_of(evidence) is State.CANCELLED
    assert not decide_launch(evidence).run


def test_start_after_cancelling_overrides_it() -> None:
    def failed(position: int, clock: str) -> State:
        attempt = Attempt(clock, "node3", ledger_position=position)
        failed_record = record(status=Status.FAILED, attempts=[attempt])
        return state_of(RunEvidence(failed_record, cancelled=100))

    for clock in (BEFORE, AFTER):  # of a host whose clock is wrong
        states = [failed(position, clock) for position in (0, 100, 150)]
        assert states == [State.CANCELLED, State.CANCELLED, State.FAILED]


RECORDS = st.none() | st.builds(
    record,
    status=st.sampled_from(Status),
    started=st.sampled_from([None, BEFORE, AFTER]),
    job_id=st.sampled_from([None, "7_1", "6"]),
    failure=st.none() | st.sampled_from([failure.value for failure in Failure]),
    attempts=st.sampled_from([[], [Attempt(NOON, "n")], [Attempt(NOON, "n", requeued=True)]]),
)
SLURM_STATES = ["PENDING", "RUNNING", "COMPLETING", "REQUEUE_HOLD", "SUSPENDED", "NEW_IN_SLURM_99"]
EVIDENCE = st.builds(
    RunEvidence,
    record=RECORDS,
    damage=st.sampled_from([None, "metrics.json is damaged"]),
    unreadable=st.booleans(),
    owner=st.sampled_from([None, OWNER]),
    job=st.just("7_1"),
    queued=st.none() | st.builds(QueuedJob, st.sampled_from(SLURM_STATES), st.just("None")),
    cancelled=st.sampled_from([None, 100]),
)


@given(EVIDENCE)
def test_decide_launch_starts_only_runs_that_are_neither_finished_nor_live(
    evidence: RunEvidence,
) -> None:
    over = state_of(evidence) is State.FINISHED
    blocked = state_of(evidence) is State.UNREADABLE
    decision = decide_launch(evidence)
    assert decision.run is (not over and not evidence.live and not blocked)
    assert decision.blocked is (blocked and not evidence.live)


@given(EVIDENCE)
def test_only_live_runs_are_running_or_pending(evidence: RunEvidence) -> None:
    if state_of(evidence) in (State.RUNNING, State.PENDING):
        assert evidence.live


@given(EVIDENCE)
def test_only_undamaged_finished_records_are_finished(evidence: RunEvidence) -> None:
    whole = evidence.record is not None and evidence.damage is None
    assert (state_of(evidence) is State.FINISHED) == (
        whole and evidence.record is not None and evidence.record.status is Status.FINISHED
    )
