"""Errors that a user can fix, by what a caller can do about them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A problem that the user can fix; the message states it in one line, then the fix.

    Commands print the line and exit with code 2; every other exception is a bug and keeps its
    traceback.
    """


class ConfigError(UserError):
    """A configuration value or a command-line argument is invalid."""


class DataError(UserError):
    """Images, labels, weights or a record are missing, inconsistent or damaged."""


class StorageError(UserError):
    """A file system cannot be read or written, or lacks space."""


class LockedError(UserError):
    """Another process holds the lock."""


class TrainingDivergedError(UserError):
    """The loss or the scores of a training are not finite."""


class NodeError(UserError):
    """This node cannot run the job (its GPUs are missing or faulty); another node may."""


class SlurmError(UserError):
    """A Slurm command failed; the message is the reason that it gave."""


class NoClusterError(SlurmError):
    """This host does not belong to a Slurm cluster."""


class SlurmUnavailableError(SlurmError):
    """Slurm's controller does not answer: it is down, restarting or busy. A retry may succeed."""

    def __init__(self, reason: str, message: str | None = None) -> None:
        super().__init__(message or f"Slurm does not answer ({reason}); try again later")
        self.reason = reason  # what the Slurm command reported


class SubmissionUnknownError(SlurmError):
    """Slurm may have accepted a job, and its id is unknown; the next launch finds out."""


class SubmitLimitError(SlurmError):
    """Slurm accepts no more jobs of this user now; it will when other jobs have ended."""


class NodeUnavailableError(SlurmError):
    """No node that satisfies the job's request is up now."""


class JobPendingError(SlurmError):
    """The job is in the queue already."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Suggest the closest of ``choices``: ``"; did you mean 'tl'?"``, or ``""``."""
    by_lower = {str(choice).lower(): str(choice) for choice in choices}
    matches = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.5)
    return f"; did you mean '{by_lower[matches[0]]}'?" if matches else ""


def one_of(what: str, name: str, choices: Iterable[str]) -> str:
    """Return the message for a name that is not in ``choices``; it lists them."""
    known = sorted(str(choice) for choice in choices)
    return f"{what} '{name}' is unknown{nearest(name, known)} (valid: {', '.join(known)})"
