"""Run Slurm's commands, and read its queue."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.errors import (
    ConfigError,
    JobPendingError,
    NoClusterError,
    NodeUnavailableError,
    SlurmError,
    SlurmUnavailableError,
    SubmitLimitError,
)
from xray_hpc.records.run_record import user_name
from xray_hpc.slurm import proxy
from xray_hpc.slurm.environment import query_environment, submission_environment

TIMEOUT_SECONDS = 60
# The batch script of a submission is slurm/<its name>/job.sh in the folder of the sweep.
SUBMISSIONS, SCRIPT = "slurm", "job.sh"
QUEUE_FORMAT = "%i|%T|%r|%N|%L|%o"

# Phrases of Slurm's error messages, by the class of error that they stand for.
ERROR_PHRASES: Mapping[type[SlurmError], Sequence[str]] = {
    NoClusterError: (
        "Could not establish a configuration source",
        "Unable to process configuration",
    ),
    SlurmUnavailableError: (  # the controller may have received the command
        "Unable to contact slurm controller",
        "Socket timed out",
        "Connection refused",
        "Communication connection failure",
        "Transport endpoint is not connected",
        "Zero Bytes were transmitted",
        "Unexpected message received",
    ),
    SubmitLimitError: (
        "Job violates accounting/QOS policy",
        "Slurm temporarily unable to accept job",
        "Resource temporarily unavailable",
    ),
    JobPendingError: ("pending execution",),
}
NO_CLUSTER = "No Slurm cluster found on this host; log in to one, or load its module"
# sbatch --test-only also reports this where every node that fits is drained now.
NODES_UNAVAILABLE = "Requested node configuration is not available"


@dataclass(frozen=True)
class QueuedJob:
    """A job in Slurm's queue, as ``squeue`` lists it."""

    state: str  # such as PENDING
    reason: str  # why it is pending
    node: str | None = None  # None while it is pending
    time_left: str = ""  # until its limit, such as 1-02:03:04
    script: str = ""  # path of its batch script

    @property
    def submission(self) -> str | None:
        """The name of its submission; ``None`` if no launch submitted it."""
        *_, parent, folder, name = ("", "", *self.script.split("/"))
        return folder if (parent, name) == (SUBMISSIONS, SCRIPT) else None


def is_available() -> bool:
    """Return whether this host belongs to a Slurm cluster; its commands may exist without one."""
    if not proxy.is_installed("sbatch") or missing_configuration():
        return False
    try:
        query(["sinfo", "--noheader"])
    except NoClusterError:
        return False
    except SlurmUnavailableError as error:
        raise SlurmUnavailableError(error.reason, f"{error}, or use cluster=local") from error
    return True


def missing_configuration() -> str | None:
    """Return that ``SLURM_CONF`` names no file; Slurm's commands wait a minute for the file."""
    path = os.environ.get("SLURM_CONF")
    if not path or proxy.in_container() or os.path.exists(path):
        return None
    return f"SLURM_CONF is {path}, which does not exist"


def run_command(
    command: list[str],
    *,
    stdin: str = "",
    pass_fds: Sequence[int] = (),
    timeout: float = TIMEOUT_SECONDS,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a Slurm command and return its output; bytes that are not UTF-8 become U+FFFD.

    Args:
        environment: its environment variables; by default those of ``query_environment``.

    Raises:
        SlurmError: the command failed; the subclass says why, where that is known.
        SlurmUnavailableError: the controller did not answer, or not within ``timeout`` seconds.
    """
    try:
        environment = query_environment() if environment is None else environment
        if proxy.in_container():
            answer = proxy.run_outside(command, stdin, environment, timeout)
        else:
            answer = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=timeout,
                env=environment,
                pass_fds=pass_fds,
            )
    except subprocess.TimeoutExpired as error:
        raise SlurmUnavailableError(f"{command[0]} timed out") from error
    except OSError as error:
        if isinstance(error, FileNotFoundError) and command[0] in ("sbatch", "squeue"):
            raise NoClusterError(NO_CLUSTER) from error
        raise SlurmError(f"{command[0]}: {error.strerror}") from error
    if answer.returncode != 0:
        raise classify(answer.stderr, command[0])
    return answer.stdout


def query(command: list[str]) -> str:
    """Run a Slurm command that only reads, and return its output.

    Raises:
        NoClusterError: this host knows no cluster.
        SlurmUnavailableError: the command failed for any other reason.
    """
    try:
        return run_command(command)
    except (NoClusterError, SlurmUnavailableError):
        raise
    except SlurmError as error:
        raise SlurmUnavailableError(str(error)) from error


def classify(stderr: str, program: str) -> SlurmError:
    """Make the exception for the error output of a failed Slurm command."""
    prefixes = re.compile(rf"(?:(?:{re.escape(program)}|error|allocation failure): )+")
    lines = (" ".join(line.split()) for line in stderr.splitlines())
    reasons = dict.fromkeys(filter(None, (prefixes.sub("", line, count=1) for line in lines)))
    if NODES_UNAVAILABLE in reasons:
        return NodeUnavailableError(NODES_UNAVAILABLE)
    reason = "; ".join(reasons)
    for kind, phrases in ERROR_PHRASES.items():
        if any(phrase in reason for phrase in phrases):
            return kind(NO_CLUSTER if kind is NoClusterError else reason)
    return SlurmError(reason or f"{program} failed")


def queued_jobs(others: Collection[str] = (), *, ended: bool = False) -> dict[str, QueuedJob]:
    """Return the queued and running jobs of this user by id: ``17``, or ``17_3`` for array tasks.

    Args:
        others: other users whose jobs to include.
        ended: whether to include jobs that ended in the last minutes (Slurm's ``MinJobAge``).
    """
    users = sorted({*filter(_is_known, others), user_name()})
    whose = "--me" if len(users) == 1 else f"--user={','.join(users)}"
    command = ["squeue", "--noheader", "--array", whose, f"--format={QUEUE_FORMAT}"]
    return parse_queue(query([*command, "--states=all"] if ended else command))


def _is_known(user: str) -> bool:
    """Return whether this host knows a user; ``squeue`` fails for one that it does not know."""
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def cancel(jobs: Sequence[str]) -> bool:
    """Cancel jobs, and return whether Slurm accepted it."""
    try:
        run_command(["scancel", *jobs])
    except SlurmError:
        return False
    return True


def check_log_folder(folder: Path) -> None:
    """Raise ``ConfigError`` if a character of ``folder`` is special in Slurm's log paths."""
    for character in "%\\":
        if character in str(folder):
            raise ConfigError(
                f"Slurm cannot write logs to {folder} because of the {character} in the path; "
                "choose another results folder or name"
            )


def parse_queue(text: str) -> dict[str, QueuedJob]:
    """Parse the output of ``squeue`` in ``QUEUE_FORMAT``; ignore other lines."""
    jobs = {}
    for line in text.splitlines():
        if re.match(r"\d+(_\d+)?(\|[^|]*){4}\|", line):
            job, state, reason, node, left, script = line.split("|", 5)
            jobs[job] = QueuedJob(state, reason, node or None, left, script)
    return jobs


def jobs_of_submissions(
    names: Collection[str], queue: Mapping[str, QueuedJob]
) -> dict[str, QueuedJob]:
    """Return the jobs in the queue that belong to these submissions."""
    return {job: queued for job, queued in queue.items() if queued.submission in names}


def submit(script: Path, *, hold_open: int) -> str:
    """Submit a batch script, and return the output of ``sbatch``.

    Args:
        script: the batch script.
        hold_open: file descriptor that ``sbatch`` inherits, so that a lock on it is held until
            ``sbatch`` ends, even if the launch is killed.

    Raises:
        SlurmError: ``sbatch`` refused it.
    """
    return run_command(
        ["sbatch", "--parsable", str(script)],
        pass_fds=[hold_open],
        environment=submission_environment(script.read_text("utf-8", "replace")),
    )


def parse_job_id(output: str) -> str | None:
    """Return the job id in the output of ``sbatch``, or of a site's wrapper of it.

    A line with an id is ``17``, ``17;cluster`` or ``Submitted batch job 17``; other lines are
    ignored. ``None`` without an id, or if several differ.
    """
    plain = re.sub(r"\x1b\[[\d;]*m", "", output)  # without colors
    alone = re.findall(r"^\s*(\d+)(?:;\S*)?\s*$", plain, re.MULTILINE)
    ids = {*alone, *re.findall(r"Submitted batch job (\d+)", plain)}
    return ids.pop() if len(ids) == 1 else None
