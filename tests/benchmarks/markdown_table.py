"""Tables that read well in a terminal and are Markdown as they stand."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.benchmarks.timing import Sample

SPREAD = "min / median / max"
TIMES = (f"wall s: {SPREAD}", f"CPU-s: {SPREAD}")


@dataclass
class Table:
    """A heading, what was measured, the numbers, and what to make of them."""

    title: str
    about: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The whole as Markdown."""
        parts = [f"## {self.title}", self.about]
        if self.rows:
            parts.append(grid(self.columns, self.rows))
        return "\n\n".join(part for part in (*parts, *self.remarks) if part) + "\n"


def grid(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with its columns aligned, all but the first to the right."""
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
    """The cells under ``TIMES``."""
    return spread(s.wall for s in samples), spread(s.cpu for s in samples)


def spread(values: Iterable[float]) -> str:
    """``"1.20 / 1.23 / 1.41"``."""
    values = sorted(values)
    return " / ".join(map(number, (values[0], statistics.median(values), values[-1])))


def number(value: float) -> str:
    """Three digits or so: ``0.012``, ``1.23``, ``45.6``, ``7,890``."""
    digits = 3 if value < 0.1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"
