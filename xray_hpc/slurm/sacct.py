"""Final states of jobs from Slurm's accounting."""

from __future__ import annotations

import subprocess
from collections.abc import Collection

TIMEOUT_SECONDS = 5.0


def final_states(jobs: Collection[str]) -> dict[str, str]:
    """Return the final state of each job (``17`` or ``17_3``), such as ``NODE_FAIL``.

    Calls ``sacct`` once; returns nothing if it is missing, slow or fails.
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
    # Shorten "CANCELLED by 1000" to CANCELLED.
    return {job: state.split()[0] for job, state in rows if job in jobs and state.strip()}
