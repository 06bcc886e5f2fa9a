"""Commands whose stdout or stderr is on a full disk, or closed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
PRELUDE = (
    "import sys\nfrom xray_hpc.command_line import run\nfrom xray_hpc.errors import UserError\n"
    "from xray_hpc.job_logging import run_job\n"
)
WRITES = "def main():\n    [print('line', i, flush=True) for i in range(3)]\n    work.touch()\n"
FAILS = "def main():\n    raise UserError('no such folder')\n"

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def shell(redirection: str, body: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Execute Python code with its streams redirected."""
    command = [sys.executable, *options, "-c", PRELUDE + body]
    return subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", *command],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("options", [(), ("-u",)], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("redirection", [">/dev/full", ">/dev/full 2>&1"])
def test_full_stdout_does_not_end_the_work(
    redirection: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    body = f"from pathlib import Path\nwork = Path({str(work)!r})\n{WRITES}run(main)"
    ended = shell(redirection, body, *options)
    assert (ended.returncode, work.exists()) == (2, True)
    lines = ended.stderr.splitlines()
    assert len(lines) == (0 if "2>" in redirection else 1)
    assert all("No space left on device" in line for line in lines)


def test_full_stdout_is_reported_when_the_command_exits_by_itself() -> None:
    ended = shell(">/dev/full", "def main():\n    print(1)\n    sys.exit(0)\nrun(main)")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: cannot write to stdout")


def test_full_stdout_keeps_the_exit_code_of_a_failure() -> None:
    ended = shell(">/dev/full", "def main():\n    print(1)\n    return 1\nrun(main)")
    assert ended.returncode == 1


def test_full_stdout_does_not_fail_a_job() -> None:
    ended = shell(">/dev/full", "run_job(lambda: print(1))")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_full_stderr_moves_the_error_to_stdout() -> None:
    ended = shell("2>/dev/full", FAILS + "run(main)")
    assert (ended.returncode, ended.stdout) == (2, "error: no such folder\n")


def test_full_stderr_does_not_fail_a_command() -> None:
    ended = shell("2>/dev/full", "run(lambda: print('note', file=sys.stderr, flush=True))")
    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_fail_a_command(redirection: str) -> None:
    body = "def main():\n    print(1)\n    print(2, file=sys.stderr)\n    sys.stdin.isatty()\n"
    ended = shell(redirection, body + "run(main)")
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr


def test_closed_stdout_does_not_lend_its_number_to_a_file(tmp_path: Path) -> None:
    """Otherwise the output of another program would end up in the file."""
    file = tmp_path / "results"
    body = (
        "import subprocess\ndef main():\n"
        f"    with open({str(file)!r}, 'w') as opened:\n"
        "        subprocess.run(['echo', 'noise'])\n        opened.write('result')\nrun(main)"
    )
    assert shell(">&-", body).returncode == 0
    assert file.read_text() == "result"


@pytest.mark.parametrize(
    ("error", "code", "job_code"),
    [
        ("OSError(28, 'No space left on device', 'x/run.json')", 2, 74),
        ("OSError(122, 'Disk quota exceeded')", 2, 74),
        ("OSError(5, 'Input/output error', 'x')", 2, 74),
        ("OSError(24, 'Too many open files')", 2, 74),
        ("BlockingIOError(11, 'Resource temporarily unavailable')", 2, 74),
        ("MemoryError()", 2, 2),
        ("ImportError('x.so: failed to map segment from shared object')", 2, 2),
        ('RuntimeError("can\'t start new thread")', 2, 2),
        ("ImportError('libx.so.2: failed to map segment from shared object')", 2, 2),
    ],
)
def test_an_error_of_the_machine_is_one_line(error: str, code: int, job_code: int) -> None:
    body = f"def main():\n    raise {error}\n"
    ended, job = shell("", body + "run(main)"), shell("", body + "run_job(main)")
    assert (ended.returncode, job.returncode) == (code, job_code)
    assert ended.stderr.startswith("error: ")
    assert [ended.stderr.count("\n"), job.stderr.count("\n")] == [1, 1]


@pytest.mark.parametrize(
    "error",
    [
        "FileNotFoundError(2, 'No such file', 'x')",
        "RuntimeError('x')",
        "OSError('x')",
        "ImportError('x')",
    ],
)
def test_other_errors_keep_their_traceback(error: str) -> None:
    ended = shell("", f"def main():\n    raise {error}\nrun(main)")
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
