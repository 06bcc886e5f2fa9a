"""Tests of parsing and formatting CSV files."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.formula_cells import quote_formula
from xray_hpc.report.typed_csv import (
    _parse_any,
    _parse_unquoted,
    csv_lines,
    parse_csv,
    typed_columns,
)

names = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1)


@given(st.lists(st.tuples(names, st.integers(0, 2**60), st.floats(allow_nan=False))))
def test_parsing_returns_the_exact_written_values(rows: list[tuple[str, int, float]]) -> None:
    table = pd.DataFrame(rows, columns=["file", "y_true", "y_scores"])
    out = io.StringIO()
    table.to_csv(out, index=False, lineterminator="\n")
    dtypes = {"y_scores": "float64", "file": "str", "y_true": "int64"}
    read = typed_columns(parse_csv(out.getvalue().encode()), dtypes)
    assert list(read) == list(dtypes)
    assert list(zip(read["file"], read["y_true"], read["y_scores"], strict=True)) == rows


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2", "ends in the middle of a line"),
        (b"a,b\n1,2,3\n", "has 3 cells for 2 columns in row 2"),
        (b"a,b\n1,2\n3\n", "has 1 cells for 2 columns in row 3"),
        (b"a,c\n1,2\n", "has no column b"),
        (b"a,b\n,2\n", "has empty cells"),
        (b"a,b\none,2\n", "has a a that is not a number"),
        (b'a,b\n1,"2\n', "is not a valid CSV file: unexpected end of data"),
        (b"a,b\n\xff,2\n", "'utf-8' codec can't decode"),
    ],
)
def test_malformed_files_raise_value_error(raw: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        typed_columns(parse_csv(raw), {"a": "int64", "b": "str"})


def test_empty_number_is_nan_where_allowed() -> None:
    cells = parse_csv(b"epoch,val_auc\n0,\n1,0.5\n")
    dtypes = {"epoch": "int64", "val_auc": "float64"}
    assert np.isnan(typed_columns(cells, dtypes, empty_cells=True)["val_auc"]).tolist() == [
        True,
        False,
    ]


def test_patient_may_be_empty() -> None:
    cells = parse_csv(b"file,patient\na.png,\n")
    assert typed_columns(cells, {"file": "str", "patient": "str"})["patient"].tolist() == [""]


cells = st.text(st.sampled_from('ab,"\r\n\0 '), max_size=3)


@given(st.lists(st.lists(cells, min_size=1, max_size=3)), st.booleans())
def test_fast_parser_agrees_with_the_csv_module(rows: list[list[str]], quote: bool) -> None:
    text = "".join(f"{','.join(row)}\n" for row in rows).replace('"', '"' * quote)
    try:
        expected = dict(_parse_any(text))
    except ValueError:
        expected = None
    fast = _parse_unquoted(text) if text.endswith("\n") else None
    assert fast is None or {head: tuple(cells) for head, cells in fast.items()} == expected


def test_fast_parser_accepts_text_without_quotes() -> None:
    assert _parse_unquoted("a,b\n1,2\n3,4\n") == {"a": ["1", "3"], "b": ["2", "4"]}


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r"))  # pandas does not quote it
written = st.one_of(st.none(), st.integers(), st.floats(), texts)


@given(st.lists(st.tuples(written, st.floats(), names), min_size=1))
def test_csv_lines_equal_those_of_pandas(rows: list[tuple[object, float, str]]) -> None:
    frame, safe = (
        pd.DataFrame(cells, columns=["a", "b", "c"], dtype=object).astype({"b": "float64"})
        for cells in (rows, [tuple(map(quote_formula, row)) for row in rows])
    )
    columns = [frame["a"].tolist(), frame["b"].to_numpy(), frame["c"].to_numpy()]
    wanted = safe.to_csv(index=False, header=False, lineterminator="\n").encode()
    assert csv_lines(columns) == wanted


def test_csv_lines_start_with_the_prefix() -> None:
    column = np.array(["a", "b\nc"], dtype=object)
    assert csv_lines([column], ["x,y", "z"]) == b'"x,y",z,a\n"x,y",z,"b\nc"\n'
    assert csv_lines([[]], ["x"]) == b""


FORMULAS = ["=x", "+", "-1", "@a", "\t", "'-1", "a"]


def test_text_like_a_formula_is_restored_and_numbers_stay() -> None:
    columns = [FORMULAS, np.array(FORMULAS, dtype=object), [-1, -0.5, None, 2, 3, 4, 5]]
    head = csv_lines([name] for name in ("=head", "text", "number"))
    raw = head + csv_lines(columns)
    assert raw.startswith(b"'=head,text,number\n'=x,'=x,-1\n'+,'+,-0.5\n'-1,'-1,\n")
    table = typed_columns(
        parse_csv(raw), {"=head": "str", "text": "str", "number": "float64"}, empty_cells=True
    )
    assert table["=head"].tolist() == table["text"].tolist() == FORMULAS
    assert table["number"].tolist()[:2] == [-1, -0.5]
    assert csv_lines([["a"]], ["-prefix"]) == b"'-prefix,a\n"


def test_bytes_of_a_name_that_are_not_utf8_are_escapes() -> None:
    assert csv_lines([["a\udcff", "b"]]) == b"a\\udcff\nb\n"
