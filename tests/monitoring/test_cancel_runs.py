from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.other_user import MALLORY, needs_root
from tests.run_folders import Programs, Sweep
from xray_hpc.errors import UserError
from xray_hpc.monitoring import cancel_runs
from xray_hpc.monitoring.cancel_runs import POLL_SECONDS, plan_cancel
from xray_hpc.monitoring.run_state import State
from xray_hpc.records import ledger
from xray_hpc.records.launch_lock import launch_lock
from xray_hpc.records.run_record import Attempt, Status, update_record

PENDING = "PENDING|Priority||1:00"
RUNNING = "RUNNING|None|gpu-01|1:00"
# Times by clocks that are wrong
BEHIND, AHEAD = "1970-01-01T00:00:00+00:00", "2106-01-01T00:00:00+00:00"


@pytest.fixture
def sweep(tmp_path: Path, programs: Programs) -> Sweep:
    """Return four runs in an array between a stage and a collect job."""
    sweep = Sweep(tmp_path / "lr")
    sweep.add("cnn-1", "model=cnn", status=Status.FAILED, job_id="7_0")
    sweep.add("cnn-2", "model=cnn", status=Status.RUNNING, job_id="7_1")
    sweep.add("ft-1", "model=ft")
    sweep.add("ft-2", "model=ft")
    sweep.submitted("6", kind="stage")
    sweep.submitted("7", ["cnn-1"], ["cnn-2"], ["ft-1"], ["ft-2"])
    sweep.submitted("8", kind="collect")
    programs.queue(
        j7_1=RUNNING, j7_2=PENDING, j7_3=PENDING, j8="PENDING|Dependency||1:00", j99=RUNNING
    )
    programs.say("scancel")
    return sweep


def test_cancel_sweep_cancels_all_jobs_with_one_call(sweep: Sweep, programs: Programs) -> None:
    found = plan_cancel(sweep.paths)
    assert found.runs == {
        "cnn-2": State.RUNNING,
        "ft-1": State.PENDING,
        "ft-2": State.PENDING,
    }
    assert found.ended == {"cnn-1": State.FAILED}
    found.execute()
    assert programs.calls("scancel") == ["7_[1-3] 8"]
    *_, event = ledger.events(sweep.paths)
    assert (event["event"], event["jobs"]) == ("cancelled", ["7_1", "7_2", "7_3", "8"])
    assert list(ledger.read(sweep.paths).cancelled) == ["cnn-2", "ft-1", "ft-2"]


@pytest.mark.parametrize(
    "pattern", ["ft-*", "model=ft", "model=f?", "model!=cnn", "run=ft-* and model=ft"]
)
def test_pattern_selects_by_name_or_override(
    sweep: Sweep, programs: Programs, pattern: str
) -> None:
    plan_cancel(sweep.paths, pattern).execute()
    assert programs.calls("scancel") == ["7_[2-3]"]


def test_pattern_without_a_match_suggests_another(sweep: Sweep) -> None:
    with pytest.raises(
        UserError, match=r"no run of lr matches 'model=tf'; did you mean 'model=ft'"
    ):
        plan_cancel(sweep.paths, "model=tf")


def test_job_with_unselected_live_runs_is_not_cancelled(sweep: Sweep, programs: Programs) -> None:
    sweep.add("ft-3", "model=ft")
    sweep.submitted("9", ["ft-3", "cnn-2"])
    programs.queue(j9=PENDING)
    with pytest.raises(UserError, match=r"job 9 also has the runs cnn-2"):
        plan_cancel(sweep.paths, "ft-3")
    assert plan_cancel(sweep.paths, "*-[23]").jobs == ["9"]


def test_job_whose_other_runs_have_ended_is_cancelled(sweep: Sweep, programs: Programs) -> None:
    sweep.add("ft-3", status=Status.RUNNING, job_id="9")
    sweep.finished("ft-4", job_id="9")
    sweep.submitted("9", ["ft-3", "ft-4"])
    programs.queue(j9=RUNNING)
    assert plan_cancel(sweep.paths, "ft-3").jobs == ["9"]


def test_job_of_a_killed_launch_is_cancelled(sweep: Sweep, programs: Programs) -> None:
    ledger.append(sweep.paths, "submitting", submission="s12", kind="runs", tasks=[["ft-1"]])
    programs.queue(j12=PENDING)
    assert plan_cancel(sweep.paths).other_jobs == ["12"]


def test_unrelated_jobs_with_the_same_ids_are_not_cancelled(
    sweep: Sweep, programs: Programs
) -> None:
    there = ("7_1", "7_2", "8")
    programs.say("squeue", *(f"{job}|{RUNNING}|/home/me/slurm/other/job.sh" for job in there))
    assert plan_cancel(sweep.paths).empty


def test_completing_job_is_not_cancelled(sweep: Sweep, programs: Programs) -> None:
    programs.queue(j6="COMPLETING|None|gpu-01|1:00")
    assert plan_cancel(sweep.paths).other_jobs == []


def test_waiting_runs_are_cancelled_too(sweep: Sweep) -> None:
    sweep.add("ft-5")
    ledger.append(sweep.paths, "waiting", runs=["ft-5"])
    plan_cancel(sweep.paths).execute()
    assert ledger.read(sweep.paths).waiting == []
    assert "ft-5" in ledger.read(sweep.paths).cancelled


def test_sweep_without_submissions_does_not_query_slurm(tmp_path: Path, programs: Programs) -> None:
    sweep = Sweep(tmp_path / "local")
    sweep.finished("ft-1")
    assert plan_cancel(sweep.paths).empty
    assert programs.calls("squeue") == []


def test_scancel_failure_for_ended_jobs_is_ignored(sweep: Sweep, programs: Programs) -> None:
    programs.queue(j7_1="COMPLETING|None|gpu-01|1:00")
    (programs.folder / "squeue").rename(programs.folder / "later")
    programs.queue(j7_1=RUNNING, j7_2=PENDING, j7_3=PENDING)
    ended = f"/bin/mv {programs.folder}/later {programs.folder}/squeue"
    programs.say("scancel", before=f"{ended}; echo 'Invalid job id specified' >&2", code=1)
    plan_cancel(sweep.paths).execute()
    assert "ft-1" in ledger.read(sweep.paths).cancelled


def test_jobs_that_scancel_refuses_are_named(sweep: Sweep, programs: Programs) -> None:
    programs.say("scancel", before="echo 'Access denied' >&2", code=1)
    with pytest.raises(
        UserError, match=r"scancel failed \(Access denied\); still in the queue: 7_\[1-3\]"
    ):
        plan_cancel(sweep.paths).execute()
    assert plan_cancel(sweep.paths).jobs == ["7_1", "7_2", "7_3"]


def test_cancel_waits_for_a_submitting_launch(sweep: Sweep, programs: Programs) -> None:
    sweep.add("ft-3")
    programs.queue(j7_1=RUNNING)
    asked = plan_cancel(sweep.paths)

    def launch() -> None:
        with launch_lock(sweep.paths):
            locked.set()
            time.sleep(2 * POLL_SECONDS)
            sweep.submitted("9", ["ft-3"])
            programs.queue(j7_1=RUNNING, j9=PENDING)

    locked = threading.Event()
    with ThreadPoolExecutor() as pool:
        launching = pool.submit(launch)
        locked.wait()
        assert asked.execute().jobs == ["7_1", "9"]
        launching.result()
    assert programs.calls("scancel") == ["7_1 9"]


def test_cancel_does_not_wait_long_for_the_lock(
    sweep: Sweep, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancel_runs, "WAIT_SECONDS", 0.1)
    with launch_lock(sweep.paths):
        plan_cancel(sweep.paths).execute()
    assert programs.calls("scancel") == ["7_[1-3] 8"]


def test_upcoming_runs_of_a_local_launch_are_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancel_runs, "WAIT_SECONDS", 0.1)
    sweep = Sweep(tmp_path / "local")
    sweep.finished("ft-1")
    sweep.add("ft-3")
    failed = sweep.add("ft-2")
    before = Attempt(AHEAD, "n1", ledger_position=ledger.size(sweep.paths))
    update_record(failed, status=Status.FAILED, attempts=[before])
    assert plan_cancel(sweep.paths).empty
    with launch_lock(sweep.paths):
        ledger.append(sweep.paths, "launched", user="ada", host="n2")
        started = Attempt(BEHIND, "n2", ledger_position=ledger.size(sweep.paths))
        sweep.add("ft-4", status=Status.FAILED, attempts=[started])
        found = plan_cancel(sweep.paths).execute()
        assert found.runs == {"ft-3": State.CREATED, "ft-2": State.FAILED}
        assert plan_cancel(sweep.paths).empty
    assert list(ledger.read(sweep.paths).cancelled) == ["ft-3", "ft-2"]


HOLD = """
import sys, time
from pathlib import Path
from xray_hpc.records.lease import Lease
with Lease.acquire(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_local_run_without_a_job_receives_sigterm(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "local")
    paths = sweep.add("ft-1", status=Status.RUNNING)
    command = [sys.executable, "-c", HOLD, str(paths.lease)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "held\n"
        found = plan_cancel(sweep.paths)
        assert [owner.pid for owner in found.processes.values()] == [worker.pid]
        found.execute()
        assert worker.wait(60) == -signal.SIGTERM
    assert plan_cancel(sweep.paths).empty
    assert list(ledger.read(sweep.paths).cancelled) == ["ft-1"]


@needs_root
def test_process_named_in_a_foreign_lease_receives_no_signal(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "local")
    paths = sweep.add("ft-1", status=Status.RUNNING)
    command = [sys.executable, "-c", HOLD, str(paths.lease)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as own:
        assert own.stdout is not None
        assert own.stdout.readline() == "held\n"
        MALLORY.own(paths.lease / "1", MALLORY.number, 0o644)
        found = plan_cancel(sweep.paths)
        assert (list(found.remote), list(found.processes)) == (["ft-1"], [])
        own.terminate()


@needs_root
def test_job_that_only_a_foreign_record_names_is_not_cancelled(
    tmp_path: Path, programs: Programs
) -> None:
    sweep = Sweep(tmp_path / "template")
    paths = sweep.add("ft-1", status=Status.RUNNING, job_id="99")
    programs.say("squeue", f"99|{RUNNING}|/home/ada/analysis.sh")
    assert plan_cancel(sweep.paths).jobs == ["99"]
    MALLORY.own(paths.record, MALLORY.number, 0o644)
    assert plan_cancel(sweep.paths).jobs == []
