from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Composer
from tests.run_folders import run_metrics
from xray_hpc.errors import StorageError
from xray_hpc.launching import progress_view, wait
from xray_hpc.launching.run_folders import create_run_folders
from xray_hpc.records import ledger
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_record import Status, update_record

Queue = Callable[..., None]

# A fake squeue: each call prints the next file of a folder; the last file is printed for ever.
SQUEUE = """\
#!/bin/sh
cd {folder} || exit 1
set -- *.txt
if [ $# -gt 1 ]; then trap "rm $1" EXIT; fi
case "$(cat "$1")" in
    fail) echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1;;
    restart) echo "fatal: Could not establish a configuration source" >&2; exit 1;;
    *) cat "$1";;
esac
"""


@pytest.fixture
def sweep(composer: Composer, monkeypatch: pytest.MonkeyPatch) -> SweepPaths:
    """Two runs, submitted as array 7 with a collect job 8."""
    monkeypatch.setattr(wait, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(progress_view, "LOG_EVERY_SECONDS", 0.0)
    plan = composer.plan(["seed=1"], ["seed=2"])
    create_run_folders(plan, [], {run.name for run in plan.runs})
    paths: SweepPaths = plan.sweep
    for name, kind, tasks, job in (
        ("a", "runs", [[run.name] for run in plan.runs], "7"),
        ("b", "collect", [[]], "8"),
    ):
        ledger.append(paths, "submitting", submission=name, kind=kind, tasks=tasks)
        ledger.append(paths, "submitted", submission=name, job=job)
    return paths


@pytest.fixture
def queue(sweep: SweepPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    """Set the output of squeue, call by call."""
    folder = tmp_path / "answers"
    folder.mkdir()
    program = tmp_path / "bin" / "squeue"
    program.parent.mkdir()
    program.write_text(SQUEUE.format(folder=folder))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    def set_output(*answers: str) -> None:
        for index, answer in enumerate(answers):
            jobs = "" if answer == "fail" else answer.format(slurm=sweep.slurm)
            (folder / f"{index}.txt").write_text("fail" if answer == "fail" else jobs)

    return set_output


BOTH = "7_0|RUNNING|None|n1|1:00|{slurm}/a/job.sh\n7_1|PENDING|Priority||1:00|{slurm}/a/job.sh\n"
COLLECT = "8|PENDING|Dependency||1:00|{slurm}/b/job.sh\n"


def set_statuses(
    sweep: SweepPaths, statuses: list[Status], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set the status of each run; finished runs count as complete."""
    state = "xray_hpc.monitoring.run_state"
    monkeypatch.setattr(f"{state}.find_damage", lambda *_, **__: None)
    monkeypatch.setattr(f"{state}.read_metrics", lambda paths: run_metrics())
    for name, status in zip(ledger.read(sweep).planned, statuses, strict=True):
        update_record(sweep.run(name), status=status)


def test_wait_for_sweep_returns_when_the_queue_has_no_job_of_the_sweep(
    sweep: SweepPaths,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    queue(BOTH + COLLECT, COLLECT, "99|RUNNING|None|n1|1:00|/other/job.sh\n")
    set_statuses(sweep, [Status.FINISHED, Status.FINISHED], monkeypatch)
    assert wait.wait_for_sweep(sweep, list(ledger.read(sweep).planned)) == 0
    assert "2 of 2 runs finished: " in capsys.readouterr().out


def test_wait_for_sweep_returns_1_if_a_run_did_not_finish(
    sweep: SweepPaths,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    queue(BOTH, "")
    set_statuses(sweep, [Status.FAILED, Status.FAILED], monkeypatch)
    assert wait.wait_for_sweep(sweep, list(ledger.read(sweep).planned)) == 1
    output = capsys.readouterr().out
    one, _ = list(ledger.read(sweep).planned)
    assert f"[1/2] {one} failed" in output
    assert "0 of 2 runs finished: " in output


def test_wait_for_sweep_ends_when_the_folder_is_renamed(sweep: SweepPaths, queue: Queue) -> None:
    queue(BOTH)
    runs = list(ledger.read(sweep).planned)
    sweep.folder.rename(sweep.folder.with_name("renamed"))
    with pytest.raises(StorageError, match=str(sweep.folder)):
        wait.wait_for_sweep(sweep, runs)
    assert not sweep.folder.exists()


def test_wait_for_sweep_waits_while_slurm_does_not_answer(
    sweep: SweepPaths,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    queue(BOTH, "fail", "restart", "")
    set_statuses(sweep, [Status.FINISHED, Status.FAILED], monkeypatch)
    assert wait.wait_for_sweep(sweep, list(ledger.read(sweep).planned)) == 1
    assert capsys.readouterr().err.count("still waiting") == 1


def test_wait_for_sweep_waits_for_runs_above_the_submit_limit(
    sweep: SweepPaths, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(COLLECT, COLLECT, COLLECT, "")
    one, other = list(ledger.read(sweep).planned)
    set_statuses(sweep, [Status.FINISHED, Status.CREATED], monkeypatch)
    ledger.append(sweep, "waiting", runs=[other])
    seen: list[int] = []

    def cancel_second_time(*_: object) -> None:
        seen.append(1)
        if len(seen) == 2:
            ledger.append(sweep, "cancelled", jobs=[], runs=[other])

    monkeypatch.setattr(progress_view.ProgressView, "update", cancel_second_time)
    assert wait.wait_for_sweep(sweep, [one, other]) == 1
    assert len(seen) >= 2


def test_wait_for_sweep_ignores_waiting_runs_without_a_collect_job(
    sweep: SweepPaths, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue("")
    one, other = list(ledger.read(sweep).planned)
    set_statuses(sweep, [Status.FINISHED, Status.CREATED], monkeypatch)
    ledger.append(sweep, "waiting", runs=[other])
    assert wait.wait_for_sweep(sweep, [one, other]) == 1


def test_wait_for_sweep_on_ctrl_c_without_a_terminal_leaves_the_jobs(
    sweep: SweepPaths,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    queue(BOTH)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress_view.ProgressView, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        wait.wait_for_sweep(sweep, list(ledger.read(sweep).planned))
    assert "python -m xray_hpc.cancel " in capsys.readouterr().out
