from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.formula_cells import quote_formula, unquote_formulas


@pytest.mark.parametrize("text", ["=1+1", "+", "-1", "@SUM(A1)", "\t=x", "\r=x", "'=x", "''-1"])
def test_quote_formula_puts_an_apostrophe_in_front(text: str) -> None:
    assert quote_formula(text) == f"'{text}"


@pytest.mark.parametrize("cell", ["NORMAL", "'tis", "", "a=b", " =1", -1, -0.5, None])
def test_quote_formula_leaves_other_text_and_numbers(cell: object) -> None:
    assert quote_formula(cell) is cell


@given(st.lists(st.text("'=+-@\t\rx")))
def test_unquote_formulas_restores_every_text(cells: list[str]) -> None:
    assert list(unquote_formulas([quote_formula(cell) for cell in cells])) == cells
