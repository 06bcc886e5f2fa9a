from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.data.index_entry import describe_skipped, patient_from_filename


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("person1_bacteria_2.jpeg", "person1_bacteria"),
        ("person1_virus_6.jpeg", "person1_virus"),
        ("person447_virus_921_1.jpeg", "person447_virus"),
        ("person3_covid_5.jpeg", "person3_covid"),
        ("IM-0115-0001.jpeg", "IM-0115"),
        ("IM-0187-0001-0002.jpeg", "IM-0187"),
        ("NORMAL2-IM-1427-0001.jpeg", "NORMAL2-IM-1427"),
        ("BACTERIA-1008087-0001.jpeg", "BACTERIA-1008087"),
        ("Person12_BACTERIA_40.JPG", "person12_bacteria"),
    ],
)
def test_patient_from_filename_of_the_published_sets(name: str, patient: str) -> None:
    assert patient_from_filename(name, "train/NORMAL") == patient


@pytest.mark.parametrize(
    "name", ["image1.png", "person_1.png", "IMG-0115-0001.jpeg", "covid 3.jpg", "covid-19-12.png"]
)
def test_patient_from_filename_of_another_form(name: str) -> None:
    assert patient_from_filename(name, "train/NORMAL") != patient_from_filename(name, "test/NORMAL")


numbers = st.integers(1, 99_999)


@given(numbers, numbers, numbers, st.sampled_from(["bacteria", "covid", "virus"]))
def test_patient_from_filename_is_shared_by_a_person(
    person: int, first: int, second: int, etiology: str
) -> None:
    names = [f"person{person}_{etiology}_{image}.jpeg" for image in (first, second)]
    assert patient_from_filename(names[0], "train/A") == patient_from_filename(names[1], "test/B")


@given(numbers, numbers, numbers)
def test_patient_from_filename_distinguishes_series(number: int, first: int, second: int) -> None:
    names = [
        f"person{number}_bacteria_{first}.jpeg",
        f"person{number}_virus_{first}.jpeg",
        f"IM-{number:04d}-{second:04d}.jpeg",
        f"NORMAL2-IM-{number:04d}-{second:04d}.jpeg",
    ]
    assert len({patient_from_filename(name, "train/A") for name in names}) == len(names)


@given(st.text(min_size=1), st.text(min_size=1))
def test_patient_from_filename_is_never_empty(name: str, folder: str) -> None:
    assert patient_from_filename(name, folder)


def test_describe_skipped_groups_files_by_reason() -> None:
    skipped = [(name, "no image") for name in "abcd"]
    assert describe_skipped([*skipped[:2], ("x", "empty"), *skipped[2:]]) == (
        "5 unreadable images ('a', 'b', 'c', ...: no image; 'x': empty)"
    )
    assert describe_skipped([(name, name) for name in "abcd"]) == (
        "4 unreadable images ('a': a; 'b': b; 'c': c; ...)"
    )
