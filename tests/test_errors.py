from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.errors import SlurmError, SlurmUnavailableError, UserError, closest, nearest, one_of


@pytest.mark.parametrize(
    ("name", "choices", "found"),
    [
        ("cn", ["cnn", "tl"], "cnn"),
        ("tk", ["cnn", "tl"], "tl"),
        ("tf", ["cnn", "ft"], "ft"),
        ("modles", ["models", "seeds"], "models"),
        ("optimiser", ["optimizer"], "optimizer"),
        ("lark", ["larcc", "lung"], "larcc"),
        ("XRAYS", ["xrays"], "xrays"),
        ("weights", ["class_weights", "none"], "class_weights"),
        ("resnet152", ["resnet152v2", "resnet50v2"], "resnet152v2"),
        ("val", ["train", "validation"], "validation"),
        ("metrics", ["retries"], None),
        ("bla", ["all", "help"], None),
        ("a", ["b"], None),
        ("lr", ["min_lr", "factor"], None),
        ("zzz", ["cnn", "tl"], None),
        ("", ["a"], None),
    ],
)
def test_closest_finds_a_mistyped_name_and_no_other(
    name: str, choices: list[str], found: str | None
) -> None:
    assert closest(name, choices) == found


@given(st.text("abc", min_size=4), st.integers(1, 3), st.sampled_from(["", "x", "xy"]))
def test_closest_allows_a_letter_more_or_less_or_other(name: str, at: int, put: str) -> None:
    assert closest(name[:at] + put + name[at + 1 :], [name]) == name
    assert closest(name[:at] + name[at : at + 2][::-1] + name[at + 2 :], [name]) == name


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
