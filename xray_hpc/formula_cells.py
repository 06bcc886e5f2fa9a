"""Keep spreadsheets from executing text cells of CSV files as formulas.

Excel, LibreOffice and Google Sheets evaluate a cell that begins with ``= + - @``, a tab or a
carriage return. Such text is written with an apostrophe in front (OWASP, "CSV Injection"), and so
is text that begins like one written in that way: the first apostrophe can always be removed again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_STARTS = frozenset("'=+-@\t\r")


def quote_formula(cell: Any) -> Any:
    """Return a cell with an apostrophe in front if it is text that may be a formula."""
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def unquote_formulas(cells: Sequence[str]) -> Sequence[str]:
    """Return text cells without the apostrophes of :func:`quote_formula`."""
    if not may_hold_formulas(cells):
        return cells
    return [cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell for cell in cells]


class UnixLines:
    """A text file for ``csv.writer`` with CRLF, in which lines end with LF.

    ``csv.writer`` quotes a carriage return in a cell only if lines end with CRLF, and readers take
    one without quotes for the end of a row.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> int:
        """Write a whole row."""
        return self._file.write(row.removesuffix("\r\n") + "\n")


def may_hold_formulas(texts: Iterable[str]) -> bool:
    """Return whether a text begins like a formula or a quoted one; fast for millions."""
    return not _STARTS.isdisjoint({text[:1] for text in texts})
