"""Show text of unknown origin without the characters that a terminal would interpret.

File and class names, DICOM fields, errors and Slurm's replies may hold control characters, escape
sequences or bidirectional overrides, which change what the lines around them seem to say.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any, TextIO, cast

JOINERS = "\u200c\u200d"  # of letters in Persian and Indic scripts, and of emoji
_NOTABLE = re.compile(r"[^ -~]")


def printable(text: str) -> str:
    """Return ``text`` in one line, with escapes such as ``\\x1b`` for what is not printable."""
    return _NOTABLE.sub(lambda found: _shown(found[0]), text)


def printable_lines(text: str) -> str:
    """Return ``text`` as :func:`printable` does, but with its line breaks and tabs."""
    return _NOTABLE.sub(lambda found: _shown(found[0], keep="\n\t"), text)


def _shown(character: str, keep: str = "") -> str:
    if character.isprintable() or character in keep or character in JOINERS:
        return character
    if unicodedata.category(character) == "Zs":  # spaces, such as one that does not break
        return character
    return character.encode("unicode_escape").decode()


class PrintableStream:
    """A text stream whose ``write`` makes its text printable; ``unescaped`` writes as it is."""

    def __init__(self, stream: TextIO) -> None:
        self.unescaped = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unescaped, name)

    def write(self, text: str) -> int:
        """Write the text with escapes; return the number of its characters."""
        self.unescaped.write(printable_lines(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each line."""
        for line in lines:
            self.write(line)


def escape_output() -> None:
    """Make everything printable that this process prints, tracebacks included."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, PrintableStream):
            setattr(sys, name, PrintableStream(stream))


def unescaped(stream: TextIO) -> TextIO:
    """Return the stream to which to write control sequences of one's own, or data."""
    return cast(TextIO, getattr(stream, "unescaped", stream))
