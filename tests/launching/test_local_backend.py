"""A sweep on this machine, from the command line to the report."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Composer
from tests.run_folders import Sweep
from xray_hpc.launching import launch_sweep, local_backend
from xray_hpc.monitoring import cancel_runs
from xray_hpc.monitoring.cancel_runs import plan_cancel
from xray_hpc.records import ledger
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Attempt, Status, now, update_record

WORDS = [
    "model=cnn,ft",
    "model.head_units=8",
    "data.demo_images=60",
    "data.image_size=32",
    "train.epochs=1",
    "train.batch_size=8",
    "cluster=local",
    "cluster.parallel=2",
    "name=pair",
]


def launch(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xray_hpc.launch", "-m", *WORDS, *words],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=500,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("here")


@pytest.fixture(scope="module")
def first(folder: Path) -> subprocess.CompletedProcess[str]:
    return launch(folder)


@pytest.fixture(scope="module")
def with_a_failure(
    folder: Path, first: subprocess.CompletedProcess[str]
) -> subprocess.CompletedProcess[str]:
    """The same sweep with a batch size that only the training refuses."""
    assert first.returncode == 0
    return launch(folder, "train.batch_size=8,40")


def test_launch_prints_every_run_and_then_the_report(
    first: subprocess.CompletedProcess[str],
) -> None:
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    assert re.match("note: model.head_units .* cnn", lines[0])
    assert "sweep pair: 2 runs, 2 to start, in results/pair" in lines
    assert sum("finished in" in line for line in lines) == 2
    assert any(line.startswith("2 runs: 2 finished") for line in lines)  # perhaps "(1 flagged)"
    assert any(line.endswith("results/pair/report/report.md") for line in lines)


def test_report_has_every_run(folder: Path, first: subprocess.CompletedProcess[str]) -> None:
    runs = pd.read_csv(folder / "results" / "pair" / "report" / "runs.csv")
    assert set(runs["model"]) >= {"cnn", "ft"}
    assert (runs["status"][runs["model"] == "cnn"] == "finished").any()


def test_sweep_has_the_index_and_figures_of_its_data(
    folder: Path, first: subprocess.CompletedProcess[str]
) -> None:
    (data,) = (folder / "results" / "pair" / "data").iterdir()
    index = pd.read_csv(data / "index.csv")
    assert len(index) == 60
    assert {path.name for path in data.glob("*.png")} >= {"class_bars.png", "class_pies.png"}


def test_a_failing_run_does_not_stop_the_others(
    folder: Path, with_a_failure: subprocess.CompletedProcess[str]
) -> None:
    assert with_a_failure.returncode == 1
    out = with_a_failure.stdout
    assert out.count("skip: finished") == 2
    failures = [line for line in out.splitlines() if line.startswith("[") and " failed: " in line]
    assert len(failures) == 2
    assert all("train.batch_size=40" in line for line in failures)
    runs = pd.read_csv(folder / "results" / "pair" / "report" / "runs.csv")
    assert sorted(runs["status"]) == ["failed", "failed", "finished", "finished"]


def test_launching_again_skips_finished_runs(
    folder: Path, with_a_failure: subprocess.CompletedProcess[str]
) -> None:
    again = launch(folder)
    assert again.returncode == 0, again.stderr
    assert "sweep pair: 2 runs, 0 to start" in again.stdout
    assert again.stdout.count("skip: finished") == 2


def test_runs_cancelled_during_the_launch_are_not_started_whatever_the_clocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, started = Sweep(tmp_path / "lr"), list[str]()
    runs = [sweep.add(name) for name in ("ft-1", "ft-2")]

    def start(paths: RunPaths, code: Path | None) -> subprocess.Popen[bytes]:
        started.append(paths.name)
        return subprocess.Popen(["true"])

    monkeypatch.setattr(local_backend, "_start_run", start)
    monkeypatch.setattr(ledger, "now", lambda: "2106-01-01T00:00:00+00:00")
    ledger.append(sweep.paths, "cancelled", jobs=[], runs=["ft-1"])
    position = ledger.size(sweep.paths)
    monkeypatch.setattr(ledger, "now", lambda: "1970-01-01T00:00:00+00:00")
    ledger.append(sweep.paths, "cancelled", jobs=[], runs=["ft-2"])
    assert local_backend.train_runs(runs, 1, position=position) == 1
    assert started == ["ft-1"]


def test_relaunched_runs_that_have_not_started_are_cancelled(
    composer: Composer, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = composer.plan(
        *([f"seed={seed}", "cluster.kind=local", "cluster.parallel=1"] for seed in (1, 2))
    )
    started, cancelled = list[str](), list[list[str]]()

    def start(paths: RunPaths, code: Path | None) -> subprocess.Popen[bytes]:
        started.append(paths.name)
        attempt = Attempt(now(), "n1", ledger_position=ledger.size(plan.sweep))
        update_record(paths, status=Status.FAILED, attempts=[attempt])
        if len(started) == 3:
            cancelled.append(list(plan_cancel(plan.sweep).execute().runs))
        return subprocess.Popen(["true"])

    monkeypatch.setattr(local_backend, "_run_job", lambda *_: 0)
    monkeypatch.setattr(local_backend, "_start_run", start)
    monkeypatch.setattr(cancel_runs, "WAIT_SECONDS", 0.0)
    first, second = (run.name for run in plan.runs)
    assert launch_sweep.launch(plan, [], wait_for_lock=False) == 0
    assert launch_sweep.launch(plan, [], wait_for_lock=False) == 1
    assert (started, cancelled) == ([first, second, first], [[second]])


def test_killed_job_is_one_line_and_the_exit_code_of_a_shell(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    script = tmp_path / "stage.py"
    script.write_text("import os\nos.kill(os.getpid(), 11)")
    assert local_backend._run_job([sys.executable, "-u", str(script)], None) == 128 + 11
    assert capsys.readouterr().err == "stage.py was killed by SIGSEGV\n"


def test_killed_launch_leaves_no_job_behind(tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text(
        "import time\nfrom xray_hpc.job_logging import run_job\n"
        "run_job(lambda: (print('started', flush=True), time.sleep(600)))"
    )
    program = (
        "import sys\nfrom xray_hpc.launching import local_backend\n"
        "local_backend._start([sys.executable, sys.argv[1]], None).wait()"
    )
    command = [sys.executable, "-c", program, str(job)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as launch:
        assert launch.stdout is not None
        assert launch.stdout.readline() == "started\n"
        launch.kill()
        assert launch.stdout.read() == ""  # until the job has closed it, too
