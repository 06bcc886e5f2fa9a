"""Errors that a user can fix, by what a caller can do about them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class UserError(Exception):
    """A problem that the user can fix; the message states it in one line, then the fix.

    Commands print the line and exit with code 2; every other exception is a bug and keeps its
    traceback.
    """


class ConfigError(UserError):
    """A configuration value or a command-line argument is invalid."""


class DataError(UserError):
    """Images, labels, weights or a record are missing, inconsistent or damaged."""


class RecordError(DataError):
    """The content of a record does not fit: it is damaged.

    ``summary`` states it in a few words: ``run.json: seconds is 'long'; it must be a number``.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}{problem}; remove it and run again")
        self.summary = f"{path.name}{problem}"


class StorageError(UserError):
    """A file system cannot be read or written, or lacks space."""


class LockedError(UserError):
    """Another process holds the lock."""


class LeaseLostError(UserError):
    """Another process has the lease of the run that this one trained."""


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
    """Suggest the choice that was probably meant: ``"; did you mean 'tl'?"``, or ``""``."""
    found = closest(name, choices)
    return "" if found is None else f"; did you mean '{found}'?"


def closest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that was probably meant; ``None`` if no choice is close.

    Close are, whatever the case: one typing error (a letter left out, added, replaced, or two
    swapped); two of them in a name of four letters or more with the same first letter; and a
    choice that begins or ends with the whole name (``weights``: ``class_weights``).
    """
    given, ranked = str(name).lower(), list[tuple[int, int, str]]()
    for choice in map(str, choices):
        known = choice.lower()
        errors = _typing_errors(given, known, 2)
        allowed = 2 if len(given) >= 4 and given[0] == known[:1] else min(len(given) - 1, 1)
        if errors <= allowed:
            ranked.append((errors, len(known), choice))
        elif len(given) >= 3 and (known.startswith(given) or known.endswith(f"_{given}")):
            ranked.append((3, len(known), choice))
    return min(ranked)[2] if ranked else None


def _typing_errors(one: str, other: str, most: int) -> int:
    """Return the number of typing errors between two texts, or any number above ``most``.

    The optimal string alignment distance (Damerau, 1964).
    """
    pairs = enumerate(zip(one, other, strict=False))
    start = next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
    one, other = one[start:], other[start:]
    if not one or not other:
        return len(one) + len(other)
    if most == 0:
        return 1
    rests = [(one[1:], other), (one, other[1:]), (one[1:], other[1:])]
    if one[:2] == other[1::-1]:
        rests.append((one[2:], other[2:]))
    return 1 + min(_typing_errors(left, right, most - 1) for left, right in rests)


def one_of(what: str, name: str, choices: Iterable[str]) -> str:
    """Return the message for a name that is not in ``choices``; it lists them."""
    known = sorted(str(choice) for choice in choices)
    return f"{what} '{name}' is unknown{nearest(name, known)} (valid: {', '.join(known)})"
