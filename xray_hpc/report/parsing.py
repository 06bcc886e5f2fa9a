"""The text of a CSV file made into typed columns, strictly: what is odd raises ``ValueError``."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

Cells: TypeAlias = Mapping[str, Sequence[str]]
Kinds: TypeAlias = Mapping[str, str]

MAY_BE_EMPTY = "patient"


def read_cells(raw: bytes) -> Cells:
    """The columns of a CSV file by their heads, every cell a text as it stands.

    An image may be called ``NA`` or ``null``, so that nothing is taken for a missing value.

    Raises:
        ValueError: what is wrong, worded to follow the file's name.
    """
    if not raw.endswith(b"\n"):
        raise ValueError("ends in the middle of a line" if raw else "is empty")
    try:
        head, *body = csv.reader(io.StringIO(raw.decode(), newline=""), strict=True)
    except csv.Error as error:
        raise ValueError(f"is no CSV: {error}") from error
    for line, row in enumerate(body, start=2):
        if len(row) != len(head):
            raise ValueError(f"has {len(row)} cells for {len(head)} columns in row {line}")
    columns = zip(*body, strict=True) if body else [()] * len(head)
    return dict(zip(head, columns, strict=True))


def typed(cells: Cells, kinds: Kinds, *, empty_cells: bool = False) -> pd.DataFrame:
    """The columns that ``kinds`` names, of the NumPy types (or ``str``) that it gives.

    With ``empty_cells`` an empty number is NaN.

    Raises:
        ValueError: a column is absent, a number is none, or a cell is empty that must not be.
    """
    if lacking := [name for name in kinds if name not in cells]:
        raise ValueError(f"has no column {', '.join(lacking)}")
    return pd.DataFrame(
        {name: _converted(name, cells[name], kind, empty_cells) for name, kind in kinds.items()}
    )


def _converted(name: str, cells: Sequence[str], kind: str, empty_cells: bool) -> npt.NDArray[Any]:
    column = np.array(cells, dtype=object)
    if name != MAY_BE_EMPTY and not empty_cells and "" in cells:
        raise ValueError("has empty cells")
    if kind == "str":
        return column
    column[column == ""] = "nan"
    try:
        return column.astype(kind)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"has a {name} that is no number: {error}") from error
