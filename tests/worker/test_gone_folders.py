"""Run folders and sweep folders that are renamed or removed while a process works in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hold import Hold
from tests.worker.fake_job import FakeScontrol, JobStarter, wait_until
from xray_hpc.errors import StorageError
from xray_hpc.launching import local_backend
from xray_hpc.launching.progress_view import ProgressView
from xray_hpc.monitoring.cancel_runs import plan_cancel
from xray_hpc.package_folders import resource
from xray_hpc.records import ledger
from xray_hpc.records.paths import RunPaths
from xray_hpc.report import collect_sweep, load_sweep

RENAME = "os.rename(sys.argv[-1], sys.argv[-1] + '-renamed')"


def assert_explained(output: str, folder: Path) -> None:
    """Check that the error is one line."""
    (error,) = [line for line in output.splitlines() if " ERROR " in line]
    assert f"{folder} is gone" in error
    assert "Traceback" not in output


@pytest.mark.parametrize(
    "end", ["os._exit(7)", "os._exit(0)", "os._exit(74)", "os.kill(os.getpid(), 9)"]
)
def test_worker_of_a_renamed_run_exits_with_74_and_makes_no_folder(
    job: JobStarter, run: RunPaths, scontrol: FakeScontrol, end: str
) -> None:
    code, output = job.run(f"{RENAME}; {end}", SLURM_JOB_ID="17")
    assert code == 74
    assert_explained(output, run.folder)
    assert not run.folder.exists()
    assert scontrol.requests == []


@pytest.mark.parametrize("suffix", ["_accuracy_per_epoch.csv", "model.keras", "metrics.json"])
def test_training_of_a_renamed_run_exits_with_74_and_makes_no_folder(
    run: RunPaths, tmp_path: Path, suffix: str
) -> None:
    hold = Hold(tmp_path / "hold", "-m xray_hpc.training", suffix)
    hold.begin()
    command = [sys.executable, str(resource("jobs") / "run.py"), "--local", str(run.folder)]
    process = subprocess.Popen(
        command,
        env=os.environ | hold.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    hold.wait_for(process)
    run.folder.rename(run.folder.with_name("renamed"))
    hold.release()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 74
    assert_explained(output, run.folder)
    assert not run.folder.exists()


def test_launch_leaves_out_a_run_whose_folder_is_gone(
    runs: list[RunPaths], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local_backend, "_start_run", lambda *_: subprocess.Popen(["true"]))
    shutil.rmtree(runs[1].folder)
    assert local_backend.train_runs(runs, 1) == 1
    assert f"{runs[1].name} was not started: its folder is gone" in capsys.readouterr().out
    assert not runs[1].folder.exists()


def test_launch_names_no_log_of_a_run_that_was_renamed(
    run: RunPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    run.folder.rename(run.folder.with_name("renamed"))
    ProgressView(1).print_result(run, 1)
    assert capsys.readouterr().out == f"[1/1] {run.name} ended: its folder is gone\n"


def test_launch_of_a_renamed_sweep_ends(
    runs: list[RunPaths], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, started = runs[0].sweep, list[str]()

    def start(paths: RunPaths, code: Path | None) -> subprocess.Popen[bytes]:
        started.append(paths.name)
        sweep.folder.rename(sweep.folder.with_name("renamed"))
        return subprocess.Popen(["false"])

    monkeypatch.setattr(local_backend, "_start_run", start)
    with pytest.raises(StorageError, match="is gone"):
        local_backend.train_runs(runs, 1)
    assert started == [runs[0].name]
    assert not sweep.folder.exists()


def test_cancel_and_collect_make_no_folder_of_a_renamed_sweep(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = run.sweep
    plan = plan_cancel(sweep)
    sweep.folder.rename(sweep.folder.with_name("renamed"))
    with pytest.raises(StorageError, match="is gone"):
        plan.execute()
    monkeypatch.setattr(load_sweep, "run_names", lambda sweep: [run.name])
    with pytest.raises(StorageError):
        collect_sweep.collect_sweep(sweep)
    with pytest.raises(StorageError):
        ledger.append(sweep, "cancelled", jobs=[], runs=[])
    assert not sweep.folder.exists()


def test_status_watch_of_a_renamed_sweep_exits_with_2(run: RunPaths, tmp_path: Path) -> None:
    sweep, output = run.sweep, tmp_path / "output"
    command = [sys.executable, "-m", "xray_hpc.status", str(sweep.folder), "--watch", "0.1"]
    with output.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: run.name in output.read_text())
    sweep.folder.rename(sweep.folder.with_name("renamed"))
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2
    assert errors.startswith(f"error: {sweep.folder} is gone")
    assert errors.count("\n") == 1
