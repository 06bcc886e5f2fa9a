"""Tables for a terminal, fitted to its width, or for a pipe."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xray_hpc.printable import printable

GAP = "  "
COLOURS = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "cyan": 36, "dim": 2, "bold": 1}


@dataclass(frozen=True)
class Screen:
    """The output of text; ``width`` and ``height`` are ``None`` if unlimited."""

    width: int | None = None
    height: int | None = None
    colour: bool = False
    stroke: str = "━"

    @classmethod
    def of_stdout(cls) -> Screen:
        """Return the screen of stdout, without colours if ``NO_COLOR`` is set."""
        if not sys.stdout.isatty():
            return cls()
        size = shutil.get_terminal_size()
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        stroke = cls.stroke if sys.stdout.encoding.lower().startswith("utf") else "="
        return cls(size.columns, size.lines, not plain, stroke)

    @property
    def bar(self) -> int:
        """Width of a bar that leaves room for text after it."""
        return max(min(60, (self.width or 80) - 40), 10)

    def paint(self, text: str, colour: str | None) -> str:
        """Return ``text``, made printable, in a colour if the screen has colours."""
        text = printable(text)
        if not self.colour or colour is None or not text.strip():
            return text
        return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"

    def cut(self, text: str) -> str:
        """Return a line, shortened to the width of the screen."""
        return text if self.width is None else shorten(text, self.width)


@dataclass(frozen=True)
class Column:
    """A column of a table; an empty column is left out."""

    head: str
    cells: Sequence[str]
    right: bool = False  # whether to align it to the right
    rank: int = 0  # on a narrow screen the column with the highest rank is dropped first; 0 is kept
    least: int | None = None  # width to which it may be shortened; None keeps it whole
    colours: Sequence[str | None] = ()  # colours of the cells

    def __post_init__(self) -> None:
        object.__setattr__(self, "head", printable(self.head))
        object.__setattr__(self, "cells", tuple(map(printable, self.cells)))

    @property
    def whole(self) -> int:
        return max(len(self.head), *map(len, self.cells))

    @property
    def narrowest(self) -> int:
        return self.whole if self.least is None else min(self.whole, self.least)


def table(columns: Sequence[Column], screen: Screen) -> Iterator[str]:
    """Yield the lines of a table, its header first; it must have a row."""
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


def shorten(text: str, width: int) -> str:
    """Return ``text``, or its start and dots."""
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."[:width]


def _fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Return the columns that fit into the width, dropping those of the highest rank."""
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
    while over > 0:  # shorten the widest column that can be shortened
        room = [w - c.narrowest for w, c in zip(widths, columns, strict=True)]
        if not any(room):
            break
        widest = max((i for i, left in enumerate(room) if left), key=lambda i: widths[i])
        widths[widest] -= 1
        over -= 1
    return widths


def _cell(column: Column, text: str, width: int) -> str:
    text = shorten(text, width)
    return text.rjust(width) if column.right else text.ljust(width)
