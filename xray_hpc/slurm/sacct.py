"""Final states of jobs from Slurm's accounting."""

from __future__ import annotations

from collections.abc import Collection

from xray_hpc.errors import SlurmError
from xray_hpc.slurm.client import run_command

TIMEOUT_SECONDS = 5.0


def final_states(jobs: Collection[str]) -> dict[str, str]:
    """Return the final state of each job (``17`` or ``17_3``), such as ``NODE_FAIL``.

    Calls ``sacct`` once; returns nothing if it is missing, slow or fails.
    """
    command = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State"]
    try:
        output = run_command([*command, f"--jobs={','.join(jobs)}"], timeout=TIMEOUT_SECONDS)
    except SlurmError:
        return {}
    rows = [line.split("|") for line in output.splitlines() if line.count("|") == 1]
    # Shorten "CANCELLED by 1000" to CANCELLED.
    return {job: state.split()[0] for job, state in rows if job in jobs and state.strip()}
