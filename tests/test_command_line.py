"""Exit codes, stdout and stderr of commands, as a shell sees them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PRELUDE = "from xray_hpc.command_line import run\nfrom xray_hpc.errors import UserError\n"


def python(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + body], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1), (3, 3)])
def test_run_exits_with_the_return_value(returned: int | None, code: int) -> None:
    ended = python(f"run(lambda: {returned})")
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")


def test_run_reports_a_user_error_in_one_line() -> None:
    ended = python("def main():\n    raise UserError('no such\\nfolder')\nrun(main)")
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", "error: no such folder\n")


def test_run_prints_warnings_to_stderr() -> None:
    ended = python(
        "import logging\nrun(lambda: logging.getLogger('xray_hpc.data').warning('low disk'))"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "warning: low disk\n")


def test_run_reports_a_usage_error_in_one_line() -> None:
    body = (
        "from xray_hpc.command_line import make_parser\n"
        "run(lambda: make_parser('x', 'y').parse_args())"
    )
    command = [sys.executable, "-c", PRELUDE + body, "--unknown"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: unrecognized arguments: --unknown (see")
    assert ended.stderr.count("\n") == 1


def test_run_escapes_characters_that_stdout_lacks() -> None:
    program = PRELUDE + "run(lambda: print('caf\\xe9'))"
    command = [sys.executable, "-X", "utf8=0", "-c", program]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "caf\\xe9\n")


def test_run_is_silent_on_ctrl_c() -> None:
    ended = python("def main():\n    raise KeyboardInterrupt\nrun(main)")
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_run_exits_with_the_number_of_a_signal(name: str, code: int) -> None:
    ended = python(
        "import os, signal\nfrom xray_hpc.command_line import interruptible\n"
        "def main():\n    with interruptible():\n"
        f"        try:\n            os.kill(os.getpid(), signal.{name})\n"
        "        finally:\n            print('cleaned up')\nrun(main)"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "cleaned up\n", "")


@pytest.mark.parametrize(
    "error",
    [
        "MemoryError('8 GiB; raise ulimit -v, or use a machine with more')",
        "ImportError('libtensorflow_cc.so.2: failed to map segment from shared object')",
    ],
)
def test_run_reports_too_little_memory_in_one_line(error: str) -> None:
    ended = python(f"def main():\n    raise {error}\nrun(main)")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("raise ulimit -v") == ended.stderr.count("\n") == 1


def test_run_keeps_the_traceback_of_a_bug() -> None:
    ended = python("run(lambda: 1 // 0)")
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert ended.stderr.endswith("ZeroDivisionError: integer division or modulo by zero\n")


@pytest.mark.parametrize("lines", [1, 100_000], ids=["flushed at exit", "flushed while running"])
def test_run_is_silent_on_a_closed_pipe(lines: int) -> None:
    body = f"def main():\n    for i in range({lines}):\n        print(i)\nrun(main)"
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + body],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == b""
        assert command.wait() == 141
