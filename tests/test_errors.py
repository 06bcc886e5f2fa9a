from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.errors import SlurmError, SlurmUnavailableError, UserError, nearest, one_of


@pytest.mark.parametrize(
    ("name", "hint"),
    [("tll", "; did you mean 'tl'?"), ("cn", "; did you mean 'cnn'?"), ("zzz", "")],
)
def test_nearest_suggests_only_a_similar_name(name: str, hint: str) -> None:
    assert nearest(name, ["cnn", "tl", "ft"]) == hint


def test_one_of_lists_the_valid_names() -> None:
    message = one_of("model", "tll", ["tl", "cnn"])
    assert message == "model 'tll' is unknown; did you mean 'tl'? (valid: cnn, tl)"


@given(st.text(), st.lists(st.text()))
def test_nearest_suggests_one_of_the_choices(name: str, choices: list[str]) -> None:
    hint = nearest(name, choices)
    assert hint == "" or hint in {f"; did you mean '{choice}'?" for choice in choices}


def test_an_unavailable_slurm_is_a_slurm_error_with_its_reason() -> None:
    error = SlurmUnavailableError("Socket timed out")
    assert isinstance(error, SlurmError)
    assert isinstance(error, UserError)
    assert error.reason == "Socket timed out"
