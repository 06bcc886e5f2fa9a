"""Aligned Markdown tables with a heading and remarks."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.benchmarks.timing import Sample

SPREAD = "min / median / max"
TIMES = (f"wall s: {SPREAD}", f"CPU-s: {SPREAD}")


@dataclass
class Table:
    """A heading, a description of the measurement, the table, and remarks."""

    title: str
    about: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return the section as Markdown."""
        parts = [f"## {self.title}", self.about]
        if self.rows:
            parts.append(grid(self.columns, self.rows))
        return "\n\n".join(part for part in (*parts, *self.remarks) if part) + "\n"


def grid(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return an aligned Markdown table; all columns but the first are right-aligned."""
    lines = [list(columns), *map(list, rows)]
    widths = [max(3, *map(len, cells)) for cells in zip(*lines, strict=True)]
    shown = [_line(line, widths) for line in lines]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([shown[0], _line(rule, widths), *shown[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(padded)} |"


def times(samples: Sequence[Sample]) -> tuple[str, str]:
    """Return the cells of the columns ``TIMES``."""
    return spread(s.wall for s in samples), spread(s.cpu for s in samples)


def spread(values: Iterable[float]) -> str:
    """Return minimum, median and maximum: ``"1.20 / 1.23 / 1.41"``."""
    values = sorted(values)
    return " / ".join(map(number, (values[0], statistics.median(values), values[-1])))


def number(value: float) -> str:
    """Format with about three significant digits: ``0.012``, ``1.23``, ``45.6``, ``7,890``."""
    digits = 3 if value < 0.1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"
