"""How a command ends, seen from outside: exit code, stdout and stderr."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PRELUDE = "from xray_hpc.cli import run\nfrom xray_hpc.errors import UserError\n"


def python(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + body], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1), (3, 3)])
def test_what_main_returns_is_the_exit_code(returned: int | None, code: int) -> None:
    ended = python(f"run(lambda: {returned})")
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")


def test_a_users_mistake_is_one_line_and_exit_2() -> None:
    ended = python("def main():\n    raise UserError('no such\\nfolder')\nrun(main)")
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", "error: no such folder\n")


def test_a_letter_that_stdout_lacks_is_printed_as_its_code() -> None:
    program = PRELUDE + "run(lambda: print('caf\\xe9'))"
    command = [sys.executable, "-X", "utf8=0", "-c", program]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "caf\\xe9\n")


def test_ctrl_c_is_quiet() -> None:
    ended = python("def main():\n    raise KeyboardInterrupt\nrun(main)")
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_a_bug_keeps_its_traceback() -> None:
    ended = python("run(lambda: 1 // 0)")
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert ended.stderr.endswith("ZeroDivisionError: integer division or modulo by zero\n")


@pytest.mark.parametrize("lines", [1, 100_000], ids=["flushed at exit", "flushed on the way"])
def test_a_closed_pipe_is_quiet(lines: int) -> None:
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
