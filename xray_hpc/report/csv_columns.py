"""The text of a CSV file made into typed columns, strictly: what is odd raises ``ValueError``.

And columns made into such text again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Cells: TypeAlias = Mapping[str, Sequence[str]]
Kinds: TypeAlias = Mapping[str, str]
Column: TypeAlias = npt.NDArray[Any]
Table: TypeAlias = dict[str, Column]

MAY_BE_EMPTY = "patient"
TO_QUOTE = re.compile(r'[",\r\n]')


def read_cells(raw: bytes) -> Cells:
    """The columns of a CSV file by their heads, every cell a text as it stands.

    An image may be called ``NA`` or ``null``, so that nothing is taken for a missing value.

    Raises:
        ValueError: what is wrong, worded to follow the file's name.
    """
    if not raw.endswith(b"\n"):
        raise ValueError("ends in the middle of a line" if raw else "is empty")
    text = raw.decode()
    return _plain_cells(text) or _any_cells(text)


def _plain_cells(text: str) -> Cells | None:
    """The columns of a text in which nothing is quoted and every row has as many cells.

    ``None`` of any other text. A sweep has millions of rows: this takes a fifth of the time.
    """
    if '"' in text or "\r" in text or "\0" in text:
        return None
    head, *lines = text[:-1].split("\n")
    names = head.split(",")
    commas = set(map(str.count, lines, repeat(",")))
    longest = max(map(len, (head, *lines)))
    if commas - {len(names) - 1} or not all((head, *lines)) or longest > csv.field_size_limit():
        return None
    cells = ",".join(lines).split(",") if lines else []
    return {name: cells[i :: len(names)] for i, name in enumerate(names)}


def _any_cells(text: str) -> Cells:
    try:
        head, *body = csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise ValueError(f"is no CSV: {error}") from error
    for line, row in enumerate(body, start=2):
        if len(row) != len(head):
            raise ValueError(f"has {len(row)} cells for {len(head)} columns in row {line}")
    columns = zip(*body, strict=True) if body else [()] * len(head)
    return dict(zip(head, columns, strict=True))


def typed(cells: Cells, kinds: Kinds, *, empty_cells: bool = False) -> Table:
    """The columns that ``kinds`` names, of the NumPy types (or ``str``) that it gives.

    With ``empty_cells`` an empty number is NaN.

    Raises:
        ValueError: a column is absent, a number is none, or a cell is empty that must not be.
    """
    if lacking := [name for name in kinds if name not in cells]:
        raise ValueError(f"has no column {', '.join(lacking)}")
    return {name: _converted(name, cells[name], kind, empty_cells) for name, kind in kinds.items()}


def _converted(name: str, cells: Sequence[str], kind: str, empty_cells: bool) -> Column:
    column = np.array(cells, dtype=object)
    empty = "" in cells
    if empty and name != MAY_BE_EMPTY and not empty_cells:
        raise ValueError("has empty cells")
    if kind == "str":
        return column
    if empty:
        column[column == ""] = "nan"
    try:
        return column.astype(kind)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"has a {name} that is no number: {error}") from error


def height(table: Table) -> int:
    """How many rows a table has."""
    return len(next(iter(table.values()), ()))


def csv_lines(columns: Iterable[Iterable[Any]], marks: Sequence[str] = ()) -> bytes:
    """The lines of a CSV file with these columns, every one behind the cells ``marks``.

    Numbers keep every digit; ``None`` and NaN are empty cells.
    """
    rows = [",".join(row) for row in zip(*map(_texts, columns), strict=True)]
    if not rows:
        return b""
    before = "".join(f"{text}," for text in _texts(marks))
    return (before + f"\n{before}".join(rows) + "\n").encode()


def _texts(column: Iterable[Any]) -> Iterable[str]:
    if isinstance(column, np.ndarray):
        if column.dtype.kind == "f":
            return ["" if number != number else repr(number) for number in column.tolist()]
        column = column.tolist()
    texts = ["" if cell is None or cell != cell else str(cell) for cell in column]
    return map(_quoted, texts) if TO_QUOTE.search("".join(texts)) else texts


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if TO_QUOTE.search(text) else text
