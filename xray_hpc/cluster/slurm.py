"""What Slurm says about jobs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.errors import UserError

# What Slurm's commands say on a machine that knows of no cluster.
UNCONFIGURED = ("Could not establish a configuration source", "Unable to process configuration")


class SlurmError(Exception):
    """A command of Slurm's failed; the message is what it said."""


@dataclass(frozen=True)
class QueuedJob:
    """A line of ``squeue``: ``state`` is Slurm's word (PENDING, RUNNING, ...)."""

    state: str
    reason: str


def available() -> bool:
    """Whether this machine belongs to a Slurm cluster.

    Slurm's commands may be installed without one.

    Raises:
        UserError: it does, but Slurm does not answer now.
    """
    if shutil.which("sbatch") is None:
        return False
    try:
        ask(["sinfo", "--noheader"])
    except SlurmError as error:
        if any(sign in str(error) for sign in UNCONFIGURED):
            return False
        raise UserError(
            f"Slurm does not answer ({error}); try again later, or run here with cluster=local"
        ) from error
    return True


def ask(command: list[str]) -> str:
    """What a command of Slurm's prints.

    Raises:
        SlurmError: it failed, or did not answer within a minute.
    """
    try:
        # A user's SQUEUE_STATES and the like would hide jobs.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SQUEUE_")}
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmError(f"{command[0]}: {error}") from error
    if answer.returncode != 0:
        raise SlurmError(" ".join(answer.stderr.split()) or f"{command[0]} failed")
    return answer.stdout


def queued_jobs() -> dict[str, QueuedJob]:
    """Jobs of this user that wait or run, array tasks one by one, by id (``17`` or ``17_3``).

    Raises:
        UserError: ``squeue`` does not answer.
    """
    try:
        return parse_queue(ask(["squeue", "--noheader", "--array", "--me", "--format=%i|%T|%r"]))
    except SlurmError as error:
        raise UserError(f"Slurm does not answer ({error}); try again later") from error


def cancel(jobs: Sequence[str]) -> bool:
    """Cancel these jobs; give whether Slurm took it."""
    try:
        ask(["scancel", *jobs])
    except SlurmError:
        return False
    return True


def check_folder(folder: Path) -> None:
    """Check that Slurm can write logs below ``folder``.

    Raises:
        UserError: its name holds a character that has a meaning of its own in a log's path.
    """
    for character in "%\\":
        if character in str(folder):
            raise UserError(
                f"Slurm cannot write logs to {folder}, for the {character} in its name; choose "
                "other results or another name"
            )


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
    import submitit.helpers  # here, for the sake of launches outside of Slurm

    conf = os.environ.get("SLURM_CONF")
    with submitit.helpers.clean_env():
        if conf is not None:
            os.environ["SLURM_CONF"] = conf
        yield
