"""Write large tables as CSV and Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from xray_hpc.formula_cells import quote_formula
from xray_hpc.records.atomic_files import atomic_write
from xray_hpc.report.typed_csv import csv_lines


def write_csv_table(path: Path, frame: pd.DataFrame) -> None:
    """Replace a CSV file; numbers keep all digits, NaN is an empty cell, text is never a formula.

    Raises:
        OSError: the file cannot be written.
    """
    table = _arrow_table(frame, lambda text: str(quote_formula(text)))
    with atomic_write(path) as temporary:
        try:
            _write_csv(temporary, table, "none")
        except pa.ArrowInvalid:  # a text has a comma, a quote or a line break
            _write_csv(temporary, table, "needed")


def _write_csv(path: Path, table: pa.Table, quoting: str) -> None:
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style=quoting)
    with path.open("wb") as file:
        file.write(csv_lines([name] for name in table.column_names))
        pyarrow.csv.write_csv(table, file, options)


def write_parquet_table(path: Path, frame: pd.DataFrame) -> None:
    """Replace a Parquet file; text is stored as it is.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        pyarrow.parquet.write_table(_arrow_table(frame, str), file)


def write_parquet_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace a Parquet file; a column with values of several types is stored as text."""
    columns = {name: _arrow_column([row[name] for row in rows]) for name in rows[0]}
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        pyarrow.parquet.write_table(pa.table(columns), file)


def _arrow_column(values: Sequence[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and len(kinds) == 2:
        return pa.array([None if value is None else float(value) for value in values])
    if len(kinds) == 1 and kinds <= {int, float, bool}:
        return pa.array(values)
    texts = [None if value is None else encodable(str(value)) for value in values]
    return pa.array(texts, pa.string())


def _arrow_table(frame: pd.DataFrame, text: Callable[[str], str]) -> pa.Table:
    """Convert a table without copying its numbers; ``text`` is applied to each category."""
    return pa.table({name: _converted(frame[name], text) for name in frame})


def _converted(column: pd.Series[Any], text: Callable[[str], str]) -> pa.Array:
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return pa.array(column.to_numpy(), from_pandas=True)
    categories = pa.array(_texts(map(text, column.cat.categories)), pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(column.cat.codes.to_numpy()), categories)


def _texts(texts: Iterable[str]) -> list[str]:
    return [encodable(text) for text in texts]


def encodable(text: str) -> str:
    """Return a text with escapes for bytes of a file's name that are not UTF-8."""
    return text.encode(errors="backslashreplace").decode()
