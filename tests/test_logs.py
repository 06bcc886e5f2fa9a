"""Test ``python -m xray_hpc.logs`` in a process of its own."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.run_folders import Programs, Sweep
from xray_hpc.records.lease import Lease
from xray_hpc.records.run_record import Status, update_record

LOGS = (sys.executable, "-u", "-W", "error", "-m", "xray_hpc.logs")
RUN = "ft-1a2b3c4d"


@pytest.fixture
def sweep(tmp_path: Path, programs: Programs) -> Sweep:
    """Return a sweep in results/ with a run whose log has two lines."""
    sweep = Sweep(tmp_path / "results" / "lr")
    sweep.add(RUN, status=Status.RUNNING).log.write_text("epoch 1\nepoch 2\n")
    return sweep


def logs(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LOGS, *words], cwd=folder, capture_output=True, encoding="utf-8")


@contextmanager
def following(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*LOGS, *words, "-f"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("text", ["ft-1a", "lr/ft", f"results/lr/runs/{RUN}"])
def test_logs_accepts_a_name_or_a_folder(sweep: Sweep, tmp_path: Path, text: str) -> None:
    ended = logs(tmp_path, text)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "epoch 1\nepoch 2\n", "")


def test_logs_escapes_control_characters_on_a_terminal_only(sweep: Sweep, tmp_path: Path) -> None:
    raw = b"50 %\r100 %\r\nclass \x1b]0;x\x07 \xff \xe2\x80\xae\n"
    sweep.paths.run(RUN).log.write_bytes(raw)
    piped = subprocess.run([*LOGS, "ft"], cwd=tmp_path, capture_output=True, check=True)
    assert piped.stdout == raw
    terminal, inner = pty.openpty()
    subprocess.run([*LOGS, "ft"], cwd=tmp_path, stdout=inner, check=True)
    os.close(inner)
    with contextlib.suppress(OSError):  # the other end of the terminal is closed
        shown = os.read(terminal, 4096)
    os.close(terminal)
    lines = shown.decode().replace("\r\n", "\n").splitlines()
    assert lines == ["50 %", "100 %", r"class \x1b]0;x\x07 \xff \u202e"]


def test_lines_option_prints_the_last_lines(sweep: Sweep, tmp_path: Path) -> None:
    assert logs(tmp_path, "ft", "-n", "1").stdout == "epoch 2\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tf-1a2b3c4d"], "there is no run 'tf-1a2b3c4d' in results; did you mean 'ft-1a2b3c4d'?"),
        (["ft", "-n", "-1"], "-n is -1; it must be 0 or more"),
    ],
)
def test_invalid_arguments_exit_with_2(
    sweep: Sweep, tmp_path: Path, arguments: list[str], message: str
) -> None:
    ended = logs(tmp_path, *arguments)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"error: {message}\n")


def test_follow_continues_over_a_restart_until_the_run_ends(
    sweep: Sweep, programs: Programs, tmp_path: Path
) -> None:
    paths = sweep.paths.run(RUN)
    sweep.submitted("7", [RUN])
    programs.queue(j7="RUNNING|None|gpu-01|1:00")
    with following(tmp_path, "ft") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert [process.stdout.readline() for _ in range(2)] == ["epoch 1\n", "epoch 2\n"]
        with Lease.acquire(paths.lease), paths.log.open("a") as log:
            log.write("epoch 3\n")
            log.flush()
            assert process.stdout.readline() == "epoch 3\n"
        update_record(paths, status=Status.INTERRUPTED)
        programs.queue(j7="PENDING|BeginTime||1:00")
        with Lease.acquire(paths.lease), paths.log.open("a") as log:
            log.write("epoch 4\n")
            log.flush()
            assert process.stdout.readline() == "epoch 4\n"
            update_record(paths, status=Status.FAILED)
        programs.queue()
        assert process.stdout.read() == ""
        assert process.wait(60) == 0
        assert process.stderr.read() == f"--- {RUN}: failed\n"


def test_ctrl_c_ends_follow_quietly(sweep: Sweep, tmp_path: Path) -> None:
    with Lease.acquire(sweep.paths.run(RUN).lease), following(tmp_path, "ft") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == ""


def test_follow_continues_while_slurm_does_not_answer(
    sweep: Sweep, programs: Programs, tmp_path: Path
) -> None:
    sweep.submitted("7", [RUN])
    programs.say("squeue", before="echo 'Socket timed out' >&2", code=1)
    with following(tmp_path, "ft") as process:
        while not programs.calls("squeue"):
            pass
        assert process.poll() is None
        programs.queue()
        assert process.wait(60) == 0


def test_empty_log_shows_the_output_of_the_job(sweep: Sweep, tmp_path: Path) -> None:
    sweep.add("cnn-1").log.touch()
    sweep.submitted("7", ["cnn-1"])
    output = sweep.paths.slurm / "s7" / "7_0_log.out"
    output.parent.mkdir(parents=True)
    output.write_text("srun: error: python: No such file\n")
    ended = logs(tmp_path, "cnn")
    assert (ended.returncode, ended.stdout) == (0, "srun: error: python: No such file\n")
    place = output.relative_to(tmp_path)
    assert ended.stderr == f"cnn-1 has an empty log; its Slurm job: {place}\n"


def test_run_without_output_says_so(sweep: Sweep, tmp_path: Path) -> None:
    sweep.add("cnn-1")
    ended = logs(tmp_path, "cnn")
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == "cnn-1 has no output yet\n"


def test_help_has_examples(tmp_path: Path, programs: Programs) -> None:
    ended = logs(tmp_path, "--help")
    assert ended.returncode == 0
    assert ended.stdout.startswith("usage: python -m xray_hpc.logs [-h] [-f] [-n LINES]")
