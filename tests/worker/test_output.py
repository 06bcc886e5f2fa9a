"""What a job says when nobody listens any more."""

from __future__ import annotations

import subprocess
import sys


def test_a_job_goes_on_when_nobody_listens_any_more() -> None:
    code = (
        "import os, sys\n"
        "from xray_hpc.worker.output import complain, pass_on, say\n"
        "sys.stdin.readline()\n"
        "say('a'); complain('b'); pass_on(b'c')\n"
        "os._exit(3)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    process.stdin.write(b"go\n")
    process.stdin.close()
    assert process.wait() == 3
