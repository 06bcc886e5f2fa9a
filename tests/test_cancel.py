"""Test ``python -m xray_hpc.cancel`` in a process of its own."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.run_folders import Programs, Sweep
from xray_hpc.records import ledger
from xray_hpc.records.run_record import Status

CANCEL = (sys.executable, "-W", "error", "-m", "xray_hpc.cancel")


@pytest.fixture
def sweep(tmp_path: Path, programs: Programs) -> Sweep:
    """Return a sweep in results/ with a finished, a running and two pending runs."""
    sweep = Sweep(tmp_path / "results" / "lr")
    sweep.finished("cnn-1")
    sweep.add("cnn-2", status=Status.RUNNING, job_id="7_1")
    sweep.add("ft-1")
    sweep.add("ft-2")
    sweep.submitted("7", ["cnn-1"], ["cnn-2"], ["ft-1"], ["ft-2"])
    sweep.submitted("8", kind="collect")
    waits = "PENDING|Priority||1:00"
    programs.queue(j7_1="RUNNING|None|gpu-01|1:00", j7_2=waits, j7_3=waits, j8=waits)
    programs.say("scancel")
    return sweep


def cancel(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CANCEL, *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def asked(folder: Path, answer: str, *words: str) -> tuple[int, str]:
    """Cancel from a terminal, and answer the question."""
    ours, its = pty.openpty()
    with subprocess.Popen(
        [*CANCEL, *words], cwd=folder, stdin=its, stdout=subprocess.PIPE, text=True
    ) as process:
        os.write(ours, answer.encode())
        output, _ = process.communicate(timeout=300)
    os.close(ours)
    os.close(its)
    return process.returncode, output


def test_cancel_prints_what_it_cancelled(sweep: Sweep, programs: Programs, tmp_path: Path) -> None:
    ended = cancel(tmp_path, "lr", "--yes")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "cancelled 1 running, 2 pending runs (jobs 7_[1-3] 8) of lr",
        "ended before: 1 finished",
    ]
    assert programs.calls("scancel") == ["7_[1-3] 8"]


def test_runs_option_cancels_matching_runs_only(
    sweep: Sweep, programs: Programs, tmp_path: Path
) -> None:
    ended = cancel(tmp_path, "lr", "--runs", "ft-1", "-y")
    assert ended.stdout == "cancelled 1 pending run (job 7_2) of lr\n"
    assert programs.calls("scancel") == ["7_2"]


def test_cancel_asks_on_a_terminal(sweep: Sweep, programs: Programs, tmp_path: Path) -> None:
    code, output = asked(tmp_path, "n\n", "lr")
    assert (code, programs.calls("scancel")) == (1, [])
    assert output.startswith("cancel 1 running, 2 pending runs (jobs 7_[1-3] 8) of lr? [y/N] ")
    assert output.endswith("nothing was cancelled\n")
    assert ledger.read(sweep.paths).cancelled == {}
    code, output = asked(tmp_path, "y\n", "lr")
    assert (code, programs.calls("scancel")) == (0, ["7_[1-3] 8"])


def test_ctrl_d_means_no(sweep: Sweep, programs: Programs, tmp_path: Path) -> None:
    code, output = asked(tmp_path, "\x04", "lr")
    assert (code, programs.calls("scancel")) == (1, [])
    assert output.endswith("? [y/N] \nnothing was cancelled\n")


def test_cancel_without_a_terminal_needs_yes(
    sweep: Sweep, programs: Programs, tmp_path: Path
) -> None:
    ended = cancel(tmp_path, "lr")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: cannot ask whether to cancel 1 running, 2 pending runs")
    assert ended.stderr.endswith("stdin is not a terminal; pass --yes\n")
    assert programs.calls("scancel") == []


def test_cancel_an_ended_sweep_does_nothing(
    sweep: Sweep, programs: Programs, tmp_path: Path
) -> None:
    programs.queue()
    ended = cancel(tmp_path, "lr", "--yes")
    assert ended.returncode == 0
    assert ended.stdout == "nothing to cancel in lr: 1 finished, 1 lost, 2 created\n"
    assert programs.calls("scancel") == []


def test_cancel_fails_while_slurm_does_not_answer(
    sweep: Sweep, programs: Programs, tmp_path: Path
) -> None:
    programs.say("squeue", before="echo 'Socket timed out' >&2", code=1)
    ended = cancel(tmp_path, "lr", "--yes")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "error: Slurm does not answer (Socket timed out); try again later\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rl"], "there is no sweep 'rl' in results; did you mean 'lr'?"),
        (["lr", "--runs", "tf-1"], "no run of lr matches 'tf-1'; did you mean 'ft-1'?"),
    ],
)
def test_invalid_arguments_exit_with_2(
    sweep: Sweep, tmp_path: Path, arguments: list[str], message: str
) -> None:
    ended = cancel(tmp_path, *arguments)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"error: {message}\n")


def test_help_has_examples(tmp_path: Path, programs: Programs) -> None:
    ended = cancel(tmp_path, "--help")
    assert ended.returncode == 0
    assert ended.stdout.startswith("usage: python -m xray_hpc.cancel [-h] [--runs PATTERN]")
