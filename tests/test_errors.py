from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.errors import nearest, one_of


@pytest.mark.parametrize(
    ("name", "hint"),
    [("tll", "; did you mean 'tl'?"), ("cn", "; did you mean 'cnn'?"), ("zzz", "")],
)
def test_the_nearest_name_is_offered_if_it_is_near(name: str, hint: str) -> None:
    assert nearest(name, ["cnn", "tl", "ft"]) == hint


def test_an_unknown_name_is_worded_with_all_the_known_ones() -> None:
    assert one_of("model", "tll", ["tl", "cnn"]) == (
        "model 'tll' is unknown; did you mean 'tl'? (valid: cnn, tl)"
    )


@given(st.text(), st.lists(st.text()))
def test_a_hint_is_one_of_the_choices(name: str, choices: list[str]) -> None:
    hint = nearest(name, choices)
    assert hint == "" or hint in {f"; did you mean '{choice}'?" for choice in choices}
