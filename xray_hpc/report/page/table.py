"""Tables of the page: formatted cells with the values to sort by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

UNKNOWN = "\N{EN DASH}"
"""What cannot be estimated; a note below the table says so."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it shows.
        detail: a second line, such as an interval.
        order: the value to sort by, if it is not the text.
        code: whether the text is code.
        href: a relative path that the text links to.
        run: label of the run that a checkbox in the cell highlights in the charts.
    """

    text: str
    detail: str = ""
    order: float | str | None = None
    code: bool = False
    href: str = ""
    run: str = ""

    @property
    def numeric(self) -> bool:
        return isinstance(self.order, float)


@dataclass(frozen=True)
class Table:
    """A table: its id, column heads, rows, and whether it can be sorted and filtered."""

    name: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    interactive: bool = False

    @property
    def has_unknown(self) -> bool:
        return any(UNKNOWN in (cell.text, cell.detail) for row in self.rows for cell in row)


def is_known(value: Any) -> bool:
    """Return whether ``value`` is a finite number."""
    try:
        return value is not None and math.isfinite(value)
    except TypeError:
        return False


def is_true(value: Any) -> bool:
    """Return whether a cell of a frame is true; false if it is missing."""
    return is_known(value) and bool(value)


def format_number(value: Any, digits: int = 3) -> str:
    """Format with three decimals; an en dash if unknown."""
    return f"{value:.{digits}f}" if is_known(value) else UNKNOWN


def format_bounds(low: Any, high: Any) -> str:
    """Format an interval: ``[0.905, 0.946]``; empty if it cannot be estimated."""
    if not (is_known(low) and is_known(high)):
        return ""
    return f"[{low:.3f}, {high:.3f}]"


def format_interval(value: Any, low: Any = None, high: Any = None) -> str:
    """Format a value with its interval: ``0.928 [0.905, 0.946]``."""
    return f"{format_number(value)} {format_bounds(low, high)}".strip()


def text_cell(value: Any) -> Cell:
    """Return a cell with a text or a value of the configuration."""
    if isinstance(value, float) and math.isfinite(value):
        return Cell(f"{value:g}", order=value)
    if isinstance(value, bool):
        return Cell(str(value).lower())
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    if isinstance(value, int):
        return Cell(str(value), order=float(value))
    return Cell("" if missing else str(value))


def number_cell(value: Any, digits: int = 3) -> Cell:
    """Return a cell with a number."""
    return Cell(format_number(value, digits), order=_order(value))


def interval_cell(value: Any, low: Any, high: Any) -> Cell:
    """Return a cell with a number and its interval below; an en dash without an interval."""
    bounds = format_bounds(low, high) or UNKNOWN
    return Cell(format_number(value), "" if not is_known(value) else bounds, _order(value))


def _order(value: Any) -> float | None:
    return float(value) if is_known(value) else None
