from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.run_folders import FAILED, HOUR, Programs, Sweep, run_metrics, trained
from xray_hpc.monitoring.run_state import State
from xray_hpc.monitoring.sweep_status import RunStatus, SweepMonitor, SweepStatus
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import write_text
from xray_hpc.records.json_record import write_json_record
from xray_hpc.records.lease import Lease
from xray_hpc.records.paths import EXIT_CODE, UNRECORDED_END
from xray_hpc.records.run_flags import Flag
from xray_hpc.records.run_progress import write_feature_blocks
from xray_hpc.records.run_record import Attempt, Status


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path / "lr")


def watch(sweep: Sweep) -> SweepStatus:
    (watched,) = SweepMonitor().read_status([sweep.paths])
    return watched


def runs(sweep: Sweep) -> dict[str, RunStatus]:
    return {run.run: run for run in watch(sweep).runs}


def test_finished_run_has_its_validation_metrics(sweep: Sweep) -> None:
    sweep.finished("ft-1", "model=ft")
    run = runs(sweep)["ft-1"]
    assert (run.state, run.epoch, run.epochs) == (State.FINISHED, 8, 10)
    assert (run.val_accuracy, run.val_auc) == (0.875, 0.9375)


def test_finished_run_has_its_flags(sweep: Sweep) -> None:
    flags = [Flag.AT_CHANCE, Flag.NOT_LEARNING]
    write_json_record(sweep.finished("ft-1").metrics, run_metrics(flags=flags))
    sweep.finished("ft-2")
    seen = runs(sweep)
    assert (seen["ft-1"].flags, seen["ft-2"].flags) == (flags, [])
    assert seen["ft-1"].reason == "at chance, not learning"
    assert seen["ft-2"].reason == ""
    assert json.loads(json.dumps(seen["ft-1"].flags)) == ["at_chance", "not_learning"]


def test_failed_run_has_its_failure(sweep: Sweep) -> None:
    sweep.add("ft-1", status=Status.FAILED, error=FAILED, failure="nan_loss")
    assert runs(sweep)["ft-1"].failure == "nan_loss"


def test_running_run_has_its_progress_and_time_left(sweep: Sweep) -> None:
    paths = sweep.add("ft-1", status=Status.RUNNING, restarts=2)
    trained(paths, done=4)
    with Lease.acquire(paths.lease):
        run = runs(sweep)["ft-1"]
    assert (run.state, run.epoch, run.epochs, run.restarts) == (State.RUNNING, 4, 10, 2)
    assert (run.val_accuracy, run.val_auc) == (0.75, 0.8125)
    assert (run.seconds_left, run.limited) == (360, False)


def test_run_that_computes_features_says_so(sweep: Sweep) -> None:
    paths = sweep.add("ft-1", status=Status.RUNNING)
    write_feature_blocks(paths, 7)
    with Lease.acquire(paths.lease):
        assert runs(sweep)["ft-1"].reason.endswith("cached features, or waiting for them, 7 blocks")
    assert runs(sweep)["ft-1"].reason == ""  # it is lost


@pytest.mark.parametrize(("code", "failed"), [(None, False), ("0\n", False), ("137\n", True)])
def test_failed_features_job_is_reported(
    sweep: Sweep, programs: Programs, code: str | None, failed: bool
) -> None:
    sweep.add("ft-1")
    sweep.submitted("6", kind="features")
    folder = sweep.paths.slurm / "s6"
    folder.mkdir(parents=True)
    if code is not None:
        (folder / EXIT_CODE).write_text(code)
    assert watch(sweep).failed_features_job == (folder if failed else None)


def test_time_left_is_limited_by_the_job(sweep: Sweep, programs: Programs) -> None:
    paths = sweep.add("ft-1", status=Status.RUNNING, job_id="7_0", node="gpu-01")
    trained(paths, done=4)
    sweep.submitted("7", ["ft-1"], ["ft-2"])
    programs.queue(j7_0="RUNNING|None|gpu-01|2:30")
    run = runs(sweep)["ft-1"]
    assert (run.seconds_left, run.limited, run.node) == (150, True, "gpu-01")


def test_pending_run_has_slurms_reason_and_its_last_failure(
    sweep: Sweep, programs: Programs
) -> None:
    sweep.add("ft-1")
    again = Attempt(HOUR[0], "n", "7_1", ended=HOUR[1], failure="out_of_memory", requeued=True)
    sweep.add("ft-2", status=Status.INTERRUPTED, failure="out_of_memory", attempts=[again])
    sweep.submitted("7", ["ft-1"], ["ft-2"])
    programs.queue(j7_0="PENDING|Priority||1:00", j7_1="PENDING|BeginTime||1:00")
    assert {name: run.reason for name, run in runs(sweep).items()} == {
        "ft-1": "Priority",
        "ft-2": "BeginTime, after out of memory",
    }


@pytest.mark.parametrize(
    ("queued", "held"),
    [
        ("PENDING|JobHeldUser||1:00", True),
        ("PENDING|launch failed requeued held||1:00", True),
        ("REQUEUE_HOLD|None||1:00", True),
        ("PENDING|Priority||1:00", False),
        ("RUNNING|None|gpu-01|1:00", False),
    ],
)
def test_held_jobs_are_recognized(
    sweep: Sweep, programs: Programs, queued: str, held: bool
) -> None:
    sweep.add("ft-1")
    sweep.submitted("7", ["ft-1"])
    programs.queue(j7=queued)
    assert runs(sweep)["ft-1"].held == held


def test_queue_is_read_once_for_all_sweeps(tmp_path: Path, programs: Programs) -> None:
    sweeps = [Sweep(tmp_path / name) for name in ("one", "two")]
    for number, sweep in enumerate(sweeps):
        sweep.add("ft-1")
        sweep.submitted(str(number), ["ft-1"])
    programs.queue(j0="PENDING|Priority||1:00", j1="RUNNING|None|gpu-01|1:00")
    one, two = SweepMonitor().read_status([sweep.paths for sweep in sweeps])
    assert [run.reason for run in (*one.runs, *two.runs)] == ["Priority", "job started"]
    assert len(programs.calls("squeue")) == 1


def test_queue_is_not_read_for_runs_without_jobs(sweep: Sweep, programs: Programs) -> None:
    sweep.finished("ft-1", job_id="7")
    sweep.add("ft-2")
    programs.queue()
    watch(sweep)
    assert programs.calls("squeue") == []


def test_lost_run_has_the_final_state_of_its_job(sweep: Sweep, programs: Programs) -> None:
    sweep.add("ft-1", status=Status.RUNNING, job_id="7_0")
    sweep.add("ft-2")
    sweep.submitted("7", ["ft-1"], ["ft-2"])
    programs.queue()
    programs.say("sacct", "7_0|NODE_FAIL")
    found = runs(sweep)
    assert (found["ft-1"].state, found["ft-1"].reason) == (State.LOST, "NODE_FAIL: job 7_0 is gone")
    assert (found["ft-2"].state, found["ft-2"].reason) == (State.CREATED, "job 7_1 is gone")


def test_lost_run_has_the_reason_of_an_unrecorded_end(sweep: Sweep, programs: Programs) -> None:
    sweep.add("ft-1")
    sweep.submitted("7", ["ft-0"], ["ft-1"])
    programs.queue()
    programs.say("sacct", "7_1|FAILED")
    folder = sweep.paths.slurm / ledger.read(sweep.paths).jobs()["ft-1"].submission
    folder.mkdir(parents=True)
    write_text(folder / f"{UNRECORDED_END}.1", "no python on node2\n")
    found = runs(sweep)["ft-1"]
    assert (found.state, found.reason) == (State.FAILED, "FAILED: no python on node2")


def test_unrecorded_end_has_the_message_of_the_shell(sweep: Sweep, programs: Programs) -> None:
    sweep.add("ft-1")
    sweep.submitted("7", ["ft-0"], ["ft-1"])
    programs.queue()
    folder = sweep.paths.slurm / ledger.read(sweep.paths).jobs()["ft-1"].submission
    folder.mkdir(parents=True)
    write_text(folder / f"{UNRECORDED_END}.1", "exit code 127\n")
    write_text(folder / "7_1_0_log.out", "no apptainer\n\nerror: exit code 127\nJOB 7 CANCELLED\n")
    assert runs(sweep)["ft-1"].reason == "exit code 127: no apptainer"


def test_final_states_are_read_once_per_job(sweep: Sweep, programs: Programs) -> None:
    sweep.add("ft-1", status=Status.RUNNING, job_id="7")
    programs.queue()
    programs.say("sacct", "Slurm accounting storage is disabled", code=1)
    monitor = SweepMonitor()
    for _ in range(3):
        monitor.read_status([sweep.paths])
    assert len(programs.calls("sacct")) == 1


def test_waiting_runs_say_so(sweep: Sweep) -> None:
    sweep.add("ft-1")
    ledger.append(sweep.paths, "waiting", runs=["ft-1"])
    assert runs(sweep)["ft-1"].reason == "waits for Slurm to accept more jobs"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (None, "ValueError: crop must be below 1"),
        ("bug", "ValueError: crop must be below 1"),
        ("nan_loss", "nan loss: crop must be below 1"),
    ],
)
def test_failed_run_has_its_error_as_reason(sweep: Sweep, failure: str | None, reason: str) -> None:
    sweep.add("ft-1", status=Status.FAILED, failure=failure, error=FAILED)
    assert runs(sweep)["ft-1"].reason == reason


def test_damaged_and_missing_runs_are_listed(sweep: Sweep) -> None:
    sweep.add("ft-1").record.write_text("{torn")
    ledger.append(sweep.paths, "planned", runs={"ft-2": []})
    found = runs(sweep)
    assert found["ft-1"].state is State.DAMAGED
    assert found["ft-1"].reason.startswith("run.json is not JSON")
    assert found["ft-2"].state is State.MISSING


def test_status_has_only_distinct_overrides(sweep: Sweep) -> None:
    sweep.add("ft-1", "model=ft", "train.learning_rate=1e-3", "seed=1")
    sweep.add("ft-2", "model=ft", "train.learning_rate=1e-4", "seed=1")
    assert [run.overrides for run in watch(sweep).runs] == [
        ["train.learning_rate=1e-3"],
        ["train.learning_rate=1e-4"],
    ]


def test_gpu_hours_exclude_attempts_without_a_known_end(sweep: Sweep) -> None:
    begun, ended = HOUR
    sweep.add(
        "ft-1", attempts=[Attempt(begun, "n", "7", ended=ended, gpus=2), Attempt(ended, "n", "8")]
    )
    sweep.add("ft-2", status=Status.RUNNING, attempts=[Attempt(begun, "n", "9", gpus=1)])
    assert watch(sweep).gpu_hours == 2
