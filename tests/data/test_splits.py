from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from xray_hpc.config.run_config import DataConfig
from xray_hpc.data.index import build_index
from xray_hpc.data.index_entry import IndexEntry, count_by_class
from xray_hpc.data.splits import count_trainable, shared_patients, small_classes, split_images
from xray_hpc.errors import UserError

MakeConfig = Callable[..., DataConfig]


def config(
    kind: str, fraction: float = 0.2, seed: int = 42, per_class: int | None = None
) -> DataConfig:
    return DataConfig(
        source="folder",
        root="x",
        image_size=8,
        channels=1,
        split=kind,  # type: ignore[arg-type]
        validation_fraction=fraction,
        split_seed=seed,
        per_class=per_class,
    )


def entries_of(patients: list[tuple[str, int, int]]) -> list[IndexEntry]:
    """Return entries for (patient, label, number of images), and a test image of each class."""
    train = [
        IndexEntry(f"train/{label}/{patient}-{i}.png", label, patient, "train", 1, 1)
        for patient, label, images in patients
        for i in range(images)
    ]
    labels = {label for _, label, _ in patients}
    test = [IndexEntry(f"test/{c}/t{c}.png", c, f"t{c}", "test", 1, 1) for c in labels]
    return [*train, *test]


sizes = st.lists(st.integers(1, 6), min_size=12, max_size=40)


@given(
    st.lists(sizes, min_size=2, max_size=5),
    st.sampled_from([0.1, 0.15, 0.2, 0.25, 0.5]),
    st.integers(0, 2**32 - 1),
)
def test_patient_split_shares_no_patient_and_meets_the_fraction(
    classes: list[list[int]], fraction: float, seed: int
) -> None:
    people = [(f"{c}-{n}", c, size) for c, of in enumerate(classes) for n, size in enumerate(of)]
    entries = entries_of(people)
    try:
        parts = split_images(entries, config("patient", fraction, seed))
    except UserError:
        assume(False)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(entries)))
    names = {part: {entries[i].patient for i in rows} for part, rows in parts.items()}
    assert not names["train"] & names["validation"]
    held = Counter(entries[i].label for i in parts["validation"])
    for label, images in enumerate(classes):
        assert abs(held[label] - fraction * sum(images)) <= max(images) / 2 + 1e-9


@given(st.integers(0, 2**32 - 1))
def test_patient_split_of_thirty_patients(seed: int) -> None:
    entries = entries_of([(f"p{n}", n % 2, 1 + n % 3) for n in range(30)])
    parts = split_images(entries, config("patient", seed=seed))
    assert 10 <= len(parts["validation"]) <= 14
    assert {entries[i].label for i in parts["validation"]} == {0, 1}


@given(st.integers(0, 2**32 - 1))
def test_patient_split_keeps_a_patient_of_both_classes_together(seed: int) -> None:
    people = [(f"p{n}", label, 2) for n in range(20) for label in (0, 1)]
    entries = entries_of(people)
    parts = split_images(entries, config("patient", seed=seed))
    assert not shared_patients([entry.patient for entry in entries], parts)
    assert len(parts["validation"]) == 16


def test_patient_split_depends_on_the_seed() -> None:
    entries = entries_of([(f"p{n}", n % 2, 2) for n in range(40)])
    held = [
        split_images(entries, config("patient", seed=s))["validation"].tolist() for s in (1, 1, 2)
    ]
    assert held[0] == held[1] != held[2]


def test_patient_split_includes_val_images(
    tree: Path, tmp_path: Path, data_config: MakeConfig
) -> None:
    index = build_index(data_config(tree), tmp_path)
    parts = split_images(index.entries, data_config(tree))
    assert len(parts["train"]) + len(parts["validation"]) == 42
    assert {index.entries[i].split for i in parts["test"]} == {"test"}


@pytest.mark.parametrize("kind", ["patient", "random"])
def test_split_rejects_an_impossible_fraction(kind: str) -> None:
    entries = entries_of([("a", 0, 2), ("b", 1, 2)])
    with pytest.raises(UserError, match=r"data.validation_fraction 0.2 "):
        split_images(entries, config(kind))


def test_patient_split_error_counts_the_patients() -> None:
    many = [(f"{label}-{n}", label, 1) for label in (1, 2) for n in range(10 * label)]
    entries = entries_of([("a", 0, 9), *many])
    message = (
        r"have 1, 10, 20 patients, and the closest shares are 0%, 20%, 20%; "
        r".*data.split=random"
    )
    with pytest.raises(UserError, match=message):
        split_images(entries, config("patient"))


def test_folder_split_uses_val(tree: Path, tmp_path: Path, data_config: MakeConfig) -> None:
    index = build_index(data_config(tree), tmp_path)
    parts = split_images(index.entries, config("folder"))
    assert [index.entries[i].path for i in parts["validation"]] == [
        "val/NORMAL/NORMAL2-IM-0001-0001.jpeg",
        "val/PNEUMONIA/person1_bacteria_1.jpeg",
    ]
    assert len(parts["train"]) == 40


def test_folder_split_rejects_a_set_without_val() -> None:
    with pytest.raises(UserError, match=r"no validation images .*use data.split=patient"):
        split_images(entries_of([("a", 0, 2), ("b", 1, 2)]), config("folder"))


kinds = st.sampled_from(["patient", "random", "folder"])


def singles(classes: list[int], validation: int = 3) -> list[IndexEntry]:
    """Return entries of patients with one image each, by class, and some for val and test."""
    entries = entries_of(
        [(f"{c}-{n}", c, 1) for c, n_of in enumerate(classes) for n in range(n_of)]
    )
    for c in range(len(classes)):
        for n in range(validation):
            path = f"val/{c}/{n}.png"
            entries.append(IndexEntry(path, c, path, "validation", 1, 1))
    return entries


def of_each(entries: list[IndexEntry], rows: np.ndarray) -> Counter[int]:
    return Counter(entries[i].label for i in rows)


@given(
    st.lists(st.integers(30, 60), min_size=2, max_size=4),
    kinds,
    st.integers(20, 70),
    st.integers(0, 2**32 - 1),
)
def test_per_class_subset_is_balanced(
    classes: list[int], kind: str, per_class: int, seed: int
) -> None:
    entries = singles(classes)
    parts = split_images(entries, config(kind, seed=seed, per_class=per_class))
    drawn = parts["train"] if kind == "folder" else np.r_[parts["train"], parts["validation"]]
    largest = min(classes) + (0 if kind == "folder" else 3)
    size = min(per_class, largest)
    assert of_each(entries, drawn) == dict.fromkeys(range(len(classes)), size)
    everything = np.concatenate(list(parts.values()))
    assert len(set(everything)) == len(everything)
    counts = count_by_class(entries, len(classes))
    assert count_trainable(counts, config(kind, per_class=per_class)) == len(everything) - len(
        classes
    )


@given(kinds, st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
def test_per_class_subset_is_independent_of_file_order(
    kind: str, seed: int, random: Random
) -> None:
    entries = singles([30, 40, 50])
    mixed = random.sample(entries, len(entries))
    drawn = config(kind, seed=seed, per_class=20)
    one, other = (
        {part: {files[i].path for i in rows} for part, rows in split_images(files, drawn).items()}
        for files in (entries, mixed)
    )
    assert one == other


@given(kinds, st.integers(0, 2**32 - 1))
def test_per_class_subsets_are_nested_and_depend_on_the_seed(kind: str, seed: int) -> None:
    entries = singles([50, 60])

    def drawn(per_class: int, seed: int) -> set[int]:
        parts = split_images(entries, config(kind, seed=seed, per_class=per_class))
        return {*parts["train"].tolist(), *parts["validation"].tolist()}

    assert drawn(20, seed) < drawn(40, seed)
    assert drawn(20, seed) != drawn(20, (seed + 1) % 2**32)


@pytest.mark.parametrize("kind", ["patient", "random", "folder"])
def test_per_class_subset_keeps_the_test_set(kind: str) -> None:
    entries = singles([30, 40])
    whole, part = (split_images(entries, config(kind, per_class=n)) for n in (None, 20))
    np.testing.assert_array_equal(whole["test"], part["test"])


def test_per_class_subset_of_a_folder_split_draws_training_images() -> None:
    entries = singles([30, 40], validation=5)
    parts = split_images(entries, config("folder", per_class=20))
    assert of_each(entries, parts["train"]) == {0: 20, 1: 20}
    assert of_each(entries, parts["validation"]) == {0: 5, 1: 5}


def test_small_classes_names_the_class() -> None:
    counts = count_by_class(singles([90, 5]), 2)
    assert small_classes(counts, ("ill", "well"), config("patient", per_class=8)) == []
    assert small_classes(counts, ("ill", "well"), config("folder", per_class=8)) == [
        "data.per_class is 8, but 'well' has only 5 images to draw from; took 5 of each class"
    ]


def test_shared_patients_counts_patients_and_images() -> None:
    patients = ["ann", "bob", "ann", "cid", "ann", "bob"]
    parts = {"train": np.array([0, 1]), "validation": np.array([2, 3]), "test": np.array([4, 5])}
    assert shared_patients(patients, parts) == [
        "1 patient ('ann') in both train and validation: 1 of the 2 validation images; "
        "validation results are too optimistic",
        "2 patients ('ann', 'bob') in both train and test: 2 of the 2 test images; "
        "test results are too optimistic",
        "1 patient ('ann') in both validation and test: 1 of the 2 test images; "
        "test results are too optimistic",
    ]
