"""Parse CSV files strictly into typed columns, and format columns as CSV lines.

A malformed file raises ``ValueError``. Parsing is faster than that of pandas, and text such as
``NA`` is not taken for a missing value. Text that a spreadsheet would take for a formula has an
apostrophe in front in the file (:mod:`xray_hpc.formula_cells`), and none in a table.
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

from xray_hpc.formula_cells import may_hold_formulas, quote_formula, unquote_formulas

Cells: TypeAlias = Mapping[str, Sequence[str]]
Dtypes: TypeAlias = Mapping[str, str]
Table: TypeAlias = dict[str, npt.NDArray[Any]]

OPTIONAL_TEXT = "patient"  # the only text column whose cells may be empty
NEEDS_QUOTES = re.compile(r'[",\r\n]')


def parse_csv(raw: bytes) -> Cells:
    """Return the columns of a CSV file by their heads, every cell as text.

    Raises:
        ValueError: the file is malformed; the message continues a sentence that starts with the
            file's name.
    """
    if not raw.endswith(b"\n"):
        raise ValueError("ends in the middle of a line" if raw else "is empty")
    text = raw.decode()
    return _parse_unquoted(text) or _parse_any(text)


def _parse_unquoted(text: str) -> Cells | None:
    """Parse text without quotes and with equally long rows; return ``None`` for other text.

    This takes a fifth of the time of the csv module, and a sweep may have millions of rows.
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
    return {name: cells[i :: len(names)] for i, name in enumerate(unquote_formulas(names))}


def _parse_any(text: str) -> Cells:
    try:
        head, *body = csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise ValueError(f"is not a valid CSV file: {error}") from error
    for line, row in enumerate(body, start=2):
        if len(row) != len(head):
            raise ValueError(f"has {len(row)} cells for {len(head)} columns in row {line}")
    columns = zip(*body, strict=True) if body else [()] * len(head)
    return dict(zip(unquote_formulas(head), columns, strict=True))


def typed_columns(cells: Cells, dtypes: Dtypes, *, empty_cells: bool = False) -> Table:
    """Convert the columns in ``dtypes`` to their NumPy types (or ``str``).

    With ``empty_cells`` an empty number becomes NaN.

    Raises:
        ValueError: a column is missing, a cell is not a number, or a required cell is empty.
    """
    if missing := [name for name in dtypes if name not in cells]:
        raise ValueError(f"has no column {', '.join(missing)}")
    return {name: _convert(name, cells[name], dtype, empty_cells) for name, dtype in dtypes.items()}


def _convert(name: str, cells: Sequence[str], dtype: str, empty_cells: bool) -> npt.NDArray[Any]:
    column = np.array(unquote_formulas(cells) if dtype == "str" else cells, dtype=object)
    empty = "" in cells
    if empty and name != OPTIONAL_TEXT and not empty_cells:
        raise ValueError("has empty cells")
    if dtype == "str":
        return column
    if empty:
        column[column == ""] = "nan"
    try:
        return column.astype(dtype)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"has a {name} that is not a number: {error}") from error


def row_count(table: Table) -> int:
    """Return the number of rows of a table."""
    return len(next(iter(table.values()), ()))


def csv_lines(columns: Iterable[Iterable[Any]], prefix: Sequence[str] = ()) -> bytes:
    """Format columns as CSV lines, each of which starts with the cells ``prefix``.

    Numbers keep all digits; ``None`` and NaN become empty cells; text is never a formula.
    """
    rows = [",".join(row) for row in zip(*map(_quoted_cells, columns), strict=True)]
    if not rows:
        return b""
    start = "".join(f"{text}," for text in _quoted_cells(prefix))
    return (start + f"\n{start}".join(rows) + "\n").encode(errors="backslashreplace")


def _quoted_cells(column: Iterable[Any]) -> Iterable[str]:
    if isinstance(column, np.ndarray):
        if column.dtype.kind == "f":
            return ["" if number != number else repr(number) for number in column.tolist()]
        column = column.tolist()
    column = list(column)
    texts = ["" if cell is None or cell != cell else str(cell) for cell in column]
    if may_hold_formulas(texts):
        cells = zip(column, texts, strict=True)  # a negative number is not text
        texts = [quote_formula(text) if isinstance(cell, str) else text for cell, text in cells]
    return map(_quote, texts) if NEEDS_QUOTES.search("".join(texts)) else texts


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if NEEDS_QUOTES.search(text) else text
