"""What Slurm says about jobs."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    """A line of ``squeue``.

    ``state`` is Slurm's word (PENDING, RUNNING, ...), ``node`` where it runs, ``time_left`` as
    Slurm writes it (``1-02:03:04``), ``script`` the batch script that was submitted.
    """

    state: str
    reason: str
    node: str | None = None
    time_left: str = ""
    script: str = ""

    @property
    def submission(self) -> str | None:
        """The name of the submission's folder; ``None``: it was not submitted by a launch."""
        *_, place, folder, name = ("", "", *self.script.split("/"))
        return folder if (place, name) == (SUBMISSIONS, SCRIPT) else None


def is_available() -> bool:
    """Whether this machine belongs to a Slurm cluster.

    Slurm's commands may be installed without one.

    Raises:
        SlurmUnavailableError: it does, but Slurm does not answer now.
    """
    if shutil.which("sbatch") is None:
        return False
    try:
        query(["sinfo", "--noheader"])
    except NoClusterError:
        return False
    return True


def run_command(command: list[str], *, stdin: str = "", pass_fds: Sequence[int] = ()) -> str:
    """Run a Slurm command and return its output; bytes that are not UTF-8 become U+FFFD.

    Raises:
        SlurmError: the command failed; the subclass says why, where that is known.
        SlurmUnavailableError: the controller did not answer, or not within a minute.
    """
    try:
        # A user's SQUEUE_STATES and the like would hide jobs.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SQUEUE_")}
        answer = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            env=environment,
            pass_fds=pass_fds,
        )
    except subprocess.TimeoutExpired as error:
        raise SlurmUnavailableError(f"{command[0]} timed out") from error
    except FileNotFoundError as error:
        raise NoClusterError(NO_CLUSTER) from error
    except OSError as error:
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
    reason = "; ".join(dict.fromkeys(filter(None, (prefixes.sub("", s, count=1) for s in lines))))
    if reason == NODES_UNAVAILABLE:
        return NodeUnavailableError(reason)
    for kind, phrases in ERROR_PHRASES.items():
        if any(phrase in reason for phrase in phrases):
            return kind(NO_CLUSTER if kind is NoClusterError else reason)
    return SlurmError(reason or f"{program} failed")


def queued_jobs(others: Collection[str] = (), *, ended: bool = False) -> dict[str, QueuedJob]:
    """Jobs of this user that wait or run, array tasks one by one, by id (``17`` or ``17_3``).

    Those of the users ``others`` too. With ``ended`` also those that ended a moment ago (minutes:
    Slurm's ``MinJobAge``).

    Raises:
        NoClusterError: this host knows no cluster.
        SlurmUnavailableError: ``squeue`` does not answer.
    """
    users = sorted({*filter(_exists, others), user_name()})
    whose = "--me" if len(users) == 1 else f"--user={','.join(users)}"
    command = ["squeue", "--noheader", "--array", whose, f"--format={QUEUE_FORMAT}"]
    return parse_queue(query([*command, "--states=all"] if ended else command))


def _exists(user: str) -> bool:
    """Whether this machine knows a user; squeue fails over one that it does not know."""
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def cancel(jobs: Sequence[str]) -> bool:
    """Cancel these jobs; give whether Slurm took it."""
    try:
        run_command(["scancel", *jobs])
    except SlurmError:
        return False
    return True


def check_log_folder(folder: Path) -> None:
    """Check that Slurm can write logs below ``folder``.

    Raises:
        ConfigError: its name holds a character that has a meaning of its own in a log's path.
    """
    for character in "%\\":
        if character in str(folder):
            raise ConfigError(
                f"Slurm cannot write logs to {folder}, for the {character} in its name; choose "
                "other results or another name"
            )


def parse_queue(text: str) -> dict[str, QueuedJob]:
    """Read the lines that ``squeue`` writes in ``QUEUE_FORMAT``; others are passed over."""
    jobs = {}
    for line in text.splitlines():
        if line.count("|") >= 5:
            job, state, reason, node, left, script = line.split("|", 5)
            jobs[job.strip()] = QueuedJob(state, reason, node or None, left, script)
    return jobs


def jobs_of_submissions(
    names: Collection[str], queue: Mapping[str, QueuedJob]
) -> dict[str, QueuedJob]:
    """Those jobs of the queue that were submitted under one of these names."""
    return {job: at for job, at in queue.items() if at.submission in names}


def submit(script: Path, *, hold_open: int) -> str:
    """Give a batch script to ``sbatch``; the id of the job.

    ``hold_open`` is a file descriptor that ``sbatch`` keeps for as long as it lives: a lock on it
    outlives a launch that is killed in the meantime.

    Raises:
        SlurmError: ``sbatch`` refused it, or printed no job id.
    """
    with submission_environment():
        said = run_command(["sbatch", "--parsable", str(script)], pass_fds=[hold_open])
    job = said.strip().splitlines()[-1].partition(";")[0] if said.strip() else ""
    if not job.isdigit():
        raise SlurmError(f"sbatch printed {said!r} for {script}, not a job id; check squeue")
    return job


@contextmanager
def submission_environment() -> Iterator[None]:
    """Hide what a surrounding job left in the environment, so that a new one does not inherit it.

    ``SLURM_CONF`` stays: it says which cluster this is. So do ``SBATCH_ACCOUNT`` and the like,
    which are the user's own; outside of a job nothing is hidden.
    """
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    import submitit.helpers  # here, for the sake of launches outside of Slurm

    bindings = ("SBATCH_CPU_BIND", "SBATCH_MEM_BIND")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "SLURM_CONF" or (name.startswith("SBATCH_") and not name.startswith(bindings))
    }
    with submitit.helpers.clean_env():
        os.environ.update(kept)
        yield
