"""CSV files made into typed columns, cell for cell."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.report.parsing import read_cells, typed

names = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1)


@given(st.lists(st.tuples(names, st.integers(0, 2**60), st.floats(allow_nan=False))))
def test_what_was_written_is_read_to_the_last_digit(drawn: list[tuple[str, int, float]]) -> None:
    table = pd.DataFrame(drawn, columns=["file", "y_true", "y_scores"])
    out = io.StringIO()
    table.to_csv(out, index=False, lineterminator="\n")
    kinds = {"y_scores": "float64", "file": "str", "y_true": "int64"}
    read = typed(read_cells(out.getvalue().encode()), kinds)
    assert list(read) == list(kinds)
    assert list(zip(read["file"], read["y_true"], read["y_scores"], strict=True)) == drawn


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2", "ends in the middle of a line"),
        (b"a,b\n1,2,3\n", "has 3 cells for 2 columns in row 2"),
        (b"a,b\n1,2\n3\n", "has 1 cells for 2 columns in row 3"),
        (b"a,c\n1,2\n", "has no column b"),
        (b"a,b\n,2\n", "has empty cells"),
        (b"a,b\none,2\n", "has a a that is no number"),
        (b'a,b\n1,"2\n', "is no CSV: unexpected end of data"),
        (b"a,b\n\xff,2\n", "'utf-8' codec can't decode"),
    ],
)
def test_what_is_odd_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        typed(read_cells(raw), {"a": "int64", "b": "str"})


def test_an_empty_number_is_nan_where_it_may_be() -> None:
    cells = read_cells(b"epoch,val_auc\n0,\n1,0.5\n")
    kinds = {"epoch": "int64", "val_auc": "float64"}
    assert typed(cells, kinds, empty_cells=True)["val_auc"].isna().tolist() == [True, False]


def test_a_patient_may_be_unknown() -> None:
    cells = read_cells(b"file,patient\na.png,\n")
    assert typed(cells, {"file": "str", "patient": "str"})["patient"].tolist() == [""]
