"""``python -m xray_hpc.status``, as a user runs it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.run_folders import FAILED, Programs, Sweep, trained
from xray_hpc.records.run_record import ErrorInfo, Status

STATUS = (sys.executable, "-W", "error", "-m", "xray_hpc.status")
HEAVY = ("tensorflow", "keras", "hydra", "submitit", "numpy", "pandas", "yaml", "omegaconf")


@pytest.fixture
def sweep(tmp_path: Path, programs: Programs) -> Sweep:
    """Return a sweep in results/ with a finished, a running, a pending and a failed run."""
    sweep = Sweep(tmp_path / "results" / "lr")
    sweep.finished("ft-1", "seed=1")
    trained(sweep.add("ft-2", "seed=2", status=Status.RUNNING, job_id="7_1"), done=4)
    sweep.add("ft-3", "seed=3")
    sweep.add("ft-4", "seed=4", status=Status.FAILED, error=FAILED)
    sweep.submitted("7", ["ft-1"], ["ft-2"], ["ft-3"], ["ft-4"])
    programs.queue(j7_1="RUNNING|None|gpu-01|1:00:00", j7_2="PENDING|Priority||2:00:00")
    return sweep


def status(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*STATUS, *words], cwd=folder, capture_output=True, encoding="utf-8")


def test_status_prints_a_table_of_runs(sweep: Sweep, tmp_path: Path) -> None:
    ended = status(tmp_path, "lr")
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert lines[0] == "lr: 4 runs: 1 finished, 1 running, 1 failed, 1 pending"
    assert [line.split() for line in lines[3:8]] == [
        ["run", "seed", "state", "epoch", "val", "acc", "val", "AUC", "left", "reason"],
        ["ft-1", "1", "finished", "8/10", "0.875", "0.938"],
        ["ft-2", "2", "running", "4/10", "0.750", "0.812", "~6", "min"],
        ["ft-3", "3", "pending", "0/10", "Priority"],
        ["ft-4", "4", "failed", "0/10", "ValueError:", "crop", "must", "be", "below", "1"],
    ]
    assert "\x1b" not in ended.stdout


def test_status_without_a_name_lists_all_sweeps(sweep: Sweep, tmp_path: Path) -> None:
    Sweep(tmp_path / "results" / "old").finished("ft-1")
    ended = status(tmp_path)
    assert ended.returncode == 0
    head, *rows = (line.split() for line in ended.stdout.splitlines())
    assert head == ["sweep", "runs", "finished", "running", "failed", "pending", "last", "change"]
    assert sorted(row[:2] for row in rows) == [["lr", "4"], ["old", "1"]]


def test_status_without_sweeps_succeeds(tmp_path: Path, programs: Programs) -> None:
    ended = status(tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "no sweeps in results yet\n")


def test_status_works_without_slurm(sweep: Sweep, programs: Programs, tmp_path: Path) -> None:
    (programs.folder / "squeue").unlink()
    ended = status(tmp_path, "lr")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("lr: 4 runs: 1 finished, 1 failed, 1 lost, 1 created\n")
    assert "No Slurm cluster found" in ended.stdout.splitlines()[-1]


def test_json_prints_one_object_per_run(sweep: Sweep, tmp_path: Path) -> None:
    ended = status(tmp_path, "lr", "--json")
    runs = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [(run["run"], run["state"], run["epoch"]) for run in runs] == [
        ("ft-1", "finished", 8),
        ("ft-2", "running", 4),
        ("ft-3", "pending", None),
        ("ft-4", "failed", None),
    ]
    assert runs[1]["seconds_left"] == 360
    assert runs[2]["overrides"] == ["seed=3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rl"], "there is no sweep 'rl' in results; did you mean 'lr'?"),
        (
            ["lr", "--results=~/none"],
            f"there is no sweep 'lr', nor any other in {Path.home()}/none; give its folder",
        ),
        (["--watch", "lr"], "--watch is 'lr'; put a sweep before it: lr --watch"),
        (["lr", "--watch", "0"], "--watch is 0; it must be between 0.1 and 86400 seconds"),
        (["lr", "--watch", "--json"], "--json prints once; leave out --watch"),
    ],
)
def test_invalid_arguments_exit_with_2(
    sweep: Sweep, tmp_path: Path, arguments: list[str], message: str
) -> None:
    ended = status(tmp_path, *arguments)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"error: {message}\n")


def test_watch_in_a_pipe_prints_changes(sweep: Sweep, programs: Programs, tmp_path: Path) -> None:
    command = [*STATUS, "lr", "--watch", "0.1"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        blocks = (line for line in watching.stdout if line.startswith("lr: "))
        assert "1 pending" in next(blocks)
        while (
            len(programs.calls("squeue")) < 4
        ):  # wait until it has read the queue again without a change
            pass
        programs.queue(j7_1="RUNNING|None|gpu-01|1:00:00")
        assert "1 created" in next(blocks)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 130
        assert watching.stderr.read() == ""


def test_watch_on_a_terminal_redraws_in_place(
    sweep: Sweep, programs: Programs, tmp_path: Path
) -> None:
    ours, its = pty.openpty()
    command = [*STATUS, "lr", "--watch", "0.1"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=its, stderr=its) as watching:
        os.close(its)
        shown = b""
        while shown.count(b"\x1b[J") < 3:
            shown += os.read(ours, 65536)
        watching.send_signal(signal.SIGINT)
        while b"\x1b[?25h" not in shown:
            shown += os.read(ours, 65536)
        assert watching.wait(60) == 130
    os.close(ours)
    first, second, *_ = shown.split(b"\x1b[J")
    lines = first.count(b"\n")
    assert second.startswith(b"\x1b[?25l\x1b[?7l\x1b[%dF\x1b[1mlr\x1b[0m: 4 runs" % lines)
    assert b"\x1b[36mrunning" in second


def test_status_imports_no_heavy_package(sweep: Sweep, tmp_path: Path) -> None:
    for word in ("--help", "lr"):
        code = (
            f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r})); sys.argv[1:] = [{word!r}]\n"
            "import runpy; runpy.run_module('xray_hpc.status', run_name='__main__')"
        )
        command = [sys.executable, "-c", code]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (ended.returncode, ended.stderr) == (0, "")


def test_status_reads_at_most_two_files_per_run(sweep: Sweep, tmp_path: Path) -> None:
    code = (
        "import sys, runpy\n"
        "opened = lambda event, args: event == 'open' and 'lr/runs/' in str(args[0]) "
        "and print(args[0], file=sys.stderr)\n"
        "sys.addaudithook(opened)\n"
        "sys.argv[1:] = ['lr']\n"
        "runpy.run_module('xray_hpc.status', run_name='__main__')"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert sorted(set(ended.stderr.split())) == [
        "results/lr/runs/ft-1/metrics.json",
        "results/lr/runs/ft-1/run.json",
        "results/lr/runs/ft-2/progress.json",
        "results/lr/runs/ft-2/run.json",
        "results/lr/runs/ft-3/progress.json",
        "results/lr/runs/ft-3/run.json",
        "results/lr/runs/ft-4/progress.json",
        "results/lr/runs/ft-4/run.json",
    ]


def test_status_of_hostile_names_and_errors_shows_them_escaped(
    tmp_path: Path, programs: Programs
) -> None:
    error = ErrorInfo("ValueError", "\x1b[2J\u202e")
    sweep = Sweep(tmp_path / "results" / "a\x1b]0;x\x07")
    sweep.add("ft-1", "seed=\x1b[1m", status=Status.FAILED, error=error)
    sweep.add("ft-2", "seed=\x7f")
    for words in ([], [sweep.paths.name], ["--json", sweep.paths.name]):
        ended = status(tmp_path, *words)
        assert ended.returncode == 0
        assert all(line.isprintable() for line in ended.stdout.split("\n"))
    assert [json.loads(line)["overrides"] for line in ended.stdout.splitlines()] == [
        ["seed=\x1b[1m"],
        ["seed=\x7f"],
    ]
