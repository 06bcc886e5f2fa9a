from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.slurm.units import compact_job_ids, format_memory, parse_mebibytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:30", 30),
        ("12:05", 725),
        ("1:00:00", 3600),
        ("2-01:00:00", 176400),
        ("UNLIMITED", None),
        ("INVALID", None),
        ("9" * 5000 + ":00", None),
        ("", None),
    ],
)
def test_parse_seconds_accepts_slurm_times(text: str, expected: int | None) -> None:
    assert parse_seconds(text) == expected


@given(st.integers(0, 30), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_parse_seconds_adds_every_part(day: int, hour: int, minute: int, second: int) -> None:
    text = f"{hour:02}:{minute:02}:{second:02}"
    value = ((day * 24 + hour) * 60 + minute) * 60 + second
    assert parse_seconds(f"{day}-{text}" if day else text) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("300M", 300),
        ("1.50G", 1536),
        ("500", 500),
        ("1500K", 2),
        ("16GB", 16384),
        ("2T", 2**21),
        ("all", None),
        ("", None),
        ("9" * 5000, None),
    ],
)
def test_parse_mebibytes_accepts_slurm_sizes(text: str, expected: int | None) -> None:
    assert parse_mebibytes(text) == expected


@given(st.integers(0, 10**8))
def test_memory_format_round_trip(size: int) -> None:
    assert parse_mebibytes(format_memory(size)) == size


@given(st.sets(st.tuples(st.integers(1, 3), st.none() | st.integers(0, 30))))
def test_compact_job_ids_name_the_same_jobs(jobs: set[tuple[int, int | None]]) -> None:
    ids = {str(array) if task is None else f"{array}_{task}" for array, task in jobs}
    named = set()
    for word in compact_job_ids(ids):
        array, _, tasks = word.partition("_")
        for part in tasks.strip("[]").split(","):
            first, _, last = part.partition("-")
            numbers = range(int(first), int(last or first) + 1) if first else [None]
            named |= {array if number is None else f"{array}_{number}" for number in numbers}
    assert named == ids
    assert all(re.fullmatch(r"\d+(_\d+|_\[[\d,-]+\])?", word) for word in compact_job_ids(ids))
