"""Tables for a terminal, which may be narrow and have colours, or for a pipe."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

GAP = "  "
COLOURS = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "cyan": 36, "dim": 2, "bold": 1}


@dataclass(frozen=True)
class Screen:
    """Where text goes; ``width`` and ``height`` are ``None`` where there is no limit."""

    width: int | None = None
    height: int | None = None
    colour: bool = False
    stroke: str = "━"

    @classmethod
    def of_stdout(cls) -> Screen:
        """The terminal that stdout is, or a pipe; ``NO_COLOR`` is heeded."""
        if not sys.stdout.isatty():
            return cls()
        size = shutil.get_terminal_size()
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        stroke = cls.stroke if sys.stdout.encoding.lower().startswith("utf") else "="
        return cls(size.columns, size.lines, not plain, stroke)

    @property
    def bar(self) -> int:
        """How many letters a bar has that leaves room for words behind it."""
        return max(min(60, (self.width or 80) - 40), 10)

    def paint(self, text: str, colour: str | None) -> str:
        """``text`` in a colour, where there are any."""
        if not self.colour or colour is None or not text.strip():
            return text
        return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"

    def cut(self, text: str) -> str:
        """As much of a line as there is room for."""
        return text if self.width is None else shortened(text, self.width)


@dataclass(frozen=True)
class Column:
    """A column; one without a word in it is left out.

    It is left out too where there is no room, highest ``rank`` first (0: never). Of a column with
    ``least`` so many letters may be left; others are shown whole. ``colours`` are the cells'.
    """

    head: str
    cells: Sequence[str]
    right: bool = False
    rank: int = 0
    least: int | None = None
    colours: Sequence[str | None] = ()

    @property
    def whole(self) -> int:
        return max(len(self.head), *map(len, self.cells))

    @property
    def narrowest(self) -> int:
        return self.whole if self.least is None else min(self.whole, self.least)


def table(columns: Sequence[Column], screen: Screen) -> Iterator[str]:
    """The table's lines, its head first; there must be a row."""
    shown = [column for column in columns if any(column.cells)]
    if screen.width is not None:
        shown = _fitting(shown, screen.width)
    widths = _widths(shown, screen.width)
    heads = [_cell(column, column.head, width) for column, width in zip(shown, widths, strict=True)]
    yield screen.paint(GAP.join(heads).rstrip(), "dim")
    for row in range(len(shown[0].cells)):
        cells = []
        for column, width in zip(shown, widths, strict=True):
            colour = column.colours[row] if column.colours else None
            cells.append(screen.paint(_cell(column, column.cells[row], width), colour))
        yield GAP.join(cells).rstrip()


def shortened(text: str, width: int) -> str:
    """``text``, or its start and dots."""
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."[:width]


def _fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that find room beside one another."""
    shown = list(columns)
    while sum(column.narrowest + len(GAP) for column in shown) - len(GAP) > width:
        last = max(reversed(shown), key=lambda column: column.rank)
        if last.rank == 0:
            break
        shown.remove(last)
    return shown


def _widths(columns: Sequence[Column], width: int | None) -> list[int]:
    widths = [column.whole for column in columns]
    if width is None:
        return widths
    over = sum(widths) + len(GAP) * (len(widths) - 1) - width
    while over > 0:  # the widest of those that can be cut gives way, letter by letter
        room = [w - c.narrowest for w, c in zip(widths, columns, strict=True)]
        if not any(room):
            break
        widest = max((i for i, left in enumerate(room) if left), key=lambda i: widths[i])
        widths[widest] -= 1
        over -= 1
    return widths


def _cell(column: Column, text: str, width: int) -> str:
    text = shortened(text, width)
    return text.rjust(width) if column.right else text.ljust(width)
