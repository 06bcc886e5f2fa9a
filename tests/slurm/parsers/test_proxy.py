"""Slurm's commands from inside a container, which jobs/slurm_proxy.sh runs on the node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_slurm import FakeSlurm
from xray_hpc.errors import SlurmError, SlurmUnavailableError
from xray_hpc.package_folders import resource
from xray_hpc.slurm import client, proxy

HEAD = "import os, signal, subprocess, sys\nfrom xray_hpc.slurm.client import run_command\n"


def start_in_container(folder: Path, code: str) -> subprocess.Popen[str]:
    """Start Python code through the proxy, in a container that has no program at all."""
    command = ["PATH=/nonexistent", sys.executable, "-c", HEAD + code]
    return subprocess.Popen(
        ["bash", str(resource("jobs") / "slurm_proxy.sh"), str(folder), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_in_container(folder: Path, code: str) -> tuple[int, str]:
    """Run Python code as ``start_in_container``; return its exit code and output."""
    process = start_in_container(folder, code)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def test_command_runs_outside_of_the_container(site: FakeSlurm, tmp_path: Path) -> None:
    site.act("scontrol", "requeue *", """printf '%s|' "$@" a "$PATH" """)
    word = 'it\'s "17" $(touch pwned)\n&'
    code, output = run_in_container(
        tmp_path, f"print(run_command(['scontrol', 'requeue', {word!r}]))\nsys.exit(7)"
    )
    assert (code, output) == (7, f"requeue|{word}|a|{os.environ['PATH']}|\n")
    assert not list(tmp_path.glob(".slurm-proxy*"))


def test_command_gets_stdin_and_changed_variables(
    site: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "3")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    site.act("sbatch", "--test-only", 'cat; echo "$SLURM_JOB_ID,$SLURM_CONF,$MARK"')
    _, output = run_in_container(
        tmp_path,
        "os.environ['MARK'] = 'a b'\ndel os.environ['SLURM_JOB_ID']\n"
        "print(run_command(['sbatch', '--test-only'], stdin='script '))",
    )
    assert output == "script ,/etc/slurm.conf,a b\n\n"


def test_failure_of_a_command_is_classified(site: FakeSlurm, tmp_path: Path) -> None:
    site.answer("scontrol", "show*", "scontrol: error: Socket timed out", code=1)
    site.answer("scontrol", "requeue*", "scontrol: error: Job is disabled", code=1)
    _, output = run_in_container(
        tmp_path,
        "for words in ('scontrol show', 'scontrol requeue', 'sno-such-program'):\n"
        "    try: run_command(words.split())\n"
        "    except Exception as error: print(type(error).__name__)",
    )
    assert output.split() == ["SlurmUnavailableError", "SlurmError", "SlurmError"]


def test_signals_reach_the_command_and_do_not_end_the_proxy(
    site: FakeSlurm, tmp_path: Path
) -> None:
    site.answer("scontrol", "*", "requeued")
    process = start_in_container(
        tmp_path,
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "print('ready', flush=True); signal.sigwait([signal.SIGTERM])\n"
        "print(run_command(['scontrol', 'requeue', '17']), flush=True); os.kill(os.getpid(), 9)",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=300)
    assert output.splitlines()[0] == "requeued"
    assert process.returncode == 128 + signal.SIGKILL


def test_command_is_unavailable_once_the_proxy_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "requests")
    monkeypatch.setenv(proxy.FOLDER_VARIABLE, str(tmp_path))
    assert client.proxy.is_installed("sbatch")
    with pytest.raises(SlurmUnavailableError, match=r"slurm_proxy\.sh"):
        client.run_command(["scontrol", "requeue", "17"])
    with pytest.raises(SlurmError):
        client.query(["squeue"])


def test_command_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "requests")
    monkeypatch.setenv(proxy.FOLDER_VARIABLE, str(tmp_path))
    with (
        open(os.open(tmp_path / "requests", os.O_RDONLY | os.O_NONBLOCK), "rb"),
        pytest.raises(SlurmUnavailableError, match="timed out"),
    ):
        client.run_command(["squeue"], timeout=0.1)
