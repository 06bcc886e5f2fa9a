"""Mistakes a user can mend, kept apart from bugs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what the user gave: one line saying what is wrong, where, and what to do.

    Commands print the line and exit with code 2; every other exception is a bug and keeps its
    traceback.
    """


def nearest(name: str, choices: Iterable[str]) -> str:
    """Name the closest of ``choices``: ``"; did you mean 'tl'?"``, or ``""``."""
    by_lower = {str(choice).lower(): str(choice) for choice in choices}
    matches = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.5)
    return f"; did you mean '{by_lower[matches[0]]}'?" if matches else ""


def one_of(what: str, name: str, choices: Iterable[str]) -> str:
    """Word the error for a name that is not among ``choices``, closest and all of them named."""
    known = sorted(str(choice) for choice in choices)
    return f"{what} '{name}' is unknown{nearest(name, known)} (valid: {', '.join(known)})"
