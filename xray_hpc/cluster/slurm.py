"""What Slurm says about jobs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import submitit.helpers

from xray_hpc.errors import UserError


@dataclass(frozen=True)
class QueuedJob:
    """A line of ``squeue``: ``state`` is Slurm's word (PENDING, RUNNING, ...)."""

    state: str
    reason: str


def available() -> bool:
    """Whether this machine submits to a Slurm cluster."""
    return shutil.which("sbatch") is not None


def queued_jobs() -> dict[str, QueuedJob]:
    """Jobs of this user that wait or run, array tasks one by one, by id (``17`` or ``17_3``).

    Raises:
        UserError: ``squeue`` does not answer.
    """
    command = ["squeue", "--noheader", "--array", "--me", "--format=%i|%T|%r"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"squeue does not answer ({error}); try again later") from error
    if answer.returncode != 0:
        said = " ".join(answer.stderr.split())
        raise UserError(f"squeue does not answer ({said}); try again later")
    return parse_queue(answer.stdout)


def parse_queue(text: str) -> dict[str, QueuedJob]:
    """Read lines of ``id|state|reason``."""
    jobs = {}
    for line in text.splitlines():
        if line.count("|") >= 2:
            job, state, reason = line.split("|", 2)
            jobs[job.strip()] = QueuedJob(state, reason)
    return jobs


@contextmanager
def submitting_environment() -> Iterator[None]:
    """Hide what a surrounding job left in the environment, so that a new one does not inherit it.

    ``SLURM_CONF`` stays: it says which cluster this is. Outside of a job nothing is hidden, so
    that a user's own ``SBATCH_ACCOUNT`` and the like keep their meaning.
    """
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    conf = os.environ.get("SLURM_CONF")
    with submitit.helpers.clean_env():
        if conf is not None:
            os.environ["SLURM_CONF"] = conf
        yield
