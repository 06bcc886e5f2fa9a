"""What Slurm's accounting remembers of jobs that are gone, where there is any."""

from __future__ import annotations

import subprocess
from collections.abc import Collection

TIMEOUT_SECONDS = 5.0


def final_states(jobs: Collection[str]) -> dict[str, str]:
    """The last state of jobs (``17`` or ``17_3``) in Slurm's words, such as ``NODE_FAIL``.

    One question, to ``sacct``. Where that is absent, slow or fails, nothing is known.
    """
    command = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State"]
    try:
        answer = subprocess.run(
            [*command, f"--jobs={','.join(jobs)}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    rows = [line.split("|") for line in answer.stdout.splitlines() if line.count("|") == 1]
    # "CANCELLED by 1000" is CANCELLED.
    return {job: state.split()[0] for job, state in rows if job in jobs and state.strip()}
