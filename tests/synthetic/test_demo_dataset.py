from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from xray_hpc.config.run_config import DataConfig
from xray_hpc.data.index_entry import IndexEntry, patient_from_filename
from xray_hpc.data.splits import split_images
from xray_hpc.errors import UserError
from xray_hpc.synthetic import demo_dataset


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("demo")
    demo_dataset.generate(folder, 50, seed=3, classes=2)
    return folder


@pytest.fixture(scope="module")
def three_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("three")
    demo_dataset.generate(folder, 50, seed=3, classes=3)
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.jpeg"))
    }


def test_generate_two_classes_has_a_fifth_for_test_and_60_percent_pneumonia(
    two_classes: Path,
) -> None:
    counts = Counter(path.rsplit("/", 1)[0] for path in digests(two_classes))
    assert counts == {
        "train/NORMAL": 16,
        "train/PNEUMONIA": 24,
        "test/NORMAL": 4,
        "test/PNEUMONIA": 6,
    }


def test_generate_three_classes_follows_the_covid_set(three_classes: Path) -> None:
    counts = Counter(path.rsplit("/", 1)[0] for path in digests(three_classes))
    assert counts == {
        "train/Covid": 16,
        "train/Normal": 12,
        "train/Viral Pneumonia": 12,
        "test/Covid": 4,
        "test/Normal": 3,
        "test/Viral Pneumonia": 3,
    }


def test_generate_same_seed_gives_the_same_bytes(two_classes: Path, tmp_path: Path) -> None:
    demo_dataset.generate(tmp_path, 50, seed=3, classes=2)
    assert digests(tmp_path) == digests(two_classes)


def test_generate_other_seed_gives_other_images(two_classes: Path, tmp_path: Path) -> None:
    demo_dataset.generate(tmp_path, 50, seed=4, classes=2)
    assert not set(digests(tmp_path).values()) & set(digests(two_classes).values())


def test_generate_images_are_all_different(two_classes: Path, three_classes: Path) -> None:
    assert len(set(digests(two_classes).values())) == 50
    assert len(set(digests(three_classes).values())) == 50


def test_generate_writes_grey_jpegs_with_full_range(two_classes: Path, three_classes: Path) -> None:
    for path in [*two_classes.rglob("*.jpeg"), *three_classes.rglob("*.jpeg")]:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.height) == ("JPEG", "L", demo_dataset.HEIGHT)
            pixels = np.asarray(image)
        assert pixels.max() > 150
        assert pixels.min() < 60


def test_generate_patient_is_independent_of_the_number_of_images(
    two_classes: Path, tmp_path: Path
) -> None:
    demo_dataset.generate(tmp_path, 20, seed=3, classes=2)
    first = "train/NORMAL/IM-0115-0001.jpeg"
    assert digests(tmp_path)[first] == digests(two_classes)[first]


def test_plan_file_names_of_two_classes_are_pinned() -> None:
    names = "\n".join(str(path) for path, _, _ in demo_dataset.plan(800, seed=0, classes=2))
    assert hashlib.sha256(names.encode()).hexdigest().startswith("84d1d2d81f98")


@pytest.mark.parametrize("classes", [2, 3])
def test_plan_file_names_identify_patients(classes: int) -> None:
    people: dict[str, set[demo_dataset.Patient]] = defaultdict(set)
    for path, patient, _ in demo_dataset.plan(2000, seed=0, classes=classes):
        people[patient_from_filename(path.name, path.parent.name)].add(patient)
    assert {len(same_name) for same_name in people.values()} == {1}
    everyone = [patient for same_name in people.values() for patient in same_name]
    assert len(everyone) == len(set(everyone))


def test_plan_patients_have_several_images() -> None:
    for classes, most in ((2, 4), (3, 2)):
        images = Counter(
            patient for _, patient, _ in demo_dataset.plan(500, seed=0, classes=classes)
        )
        assert set(images.values()) == set(range(1, most + 1))


@pytest.mark.parametrize("classes", [2, 3])
def test_plan_train_and_test_share_no_patient(classes: int) -> None:
    patients: dict[str, set[demo_dataset.Patient]] = defaultdict(set)
    for path, patient, _ in demo_dataset.plan(2000, seed=0, classes=classes):
        patients[path.parts[0]].add(patient)
    assert not patients["train"] & patients["test"]


def test_plan_person_numbers_recur_in_train_and_test() -> None:
    persons: dict[str, set[str]] = defaultdict(set)
    for path, patient, _ in demo_dataset.plan(2000, seed=0, classes=2):
        if patient.kind != "normal":
            persons[path.parts[0]].add(path.name.split("_")[0])
    assert persons["train"] & persons["test"]


@pytest.mark.parametrize("classes", [2, 3])
def test_plan_paths_are_unique(classes: int) -> None:
    paths = [path for path, _, _ in demo_dataset.plan(2000, seed=0, classes=classes)]
    assert len(paths) == len(set(paths)) == 2000


@given(st.integers(40, 60), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_plan_forty_images_of_three_classes_can_be_split_by_patient(
    images: int, seed: int, split_seed: int
) -> None:
    planned = [path for path, _, _ in demo_dataset.plan(images, seed, classes=3)]
    names = sorted(demo_dataset.CLASSES[3].values())
    entries = [
        IndexEntry(
            str(path),
            names.index(path.parts[1]),
            patient_from_filename(path.name, ""),
            path.parts[0],
            1,
            1,
        )
        for path in planned
    ]
    config = DataConfig(
        source="demo",
        image_size=8,
        channels=1,
        split="patient",
        validation_fraction=0.2,
        split_seed=split_seed,
        demo_images=images,
        demo_seed=seed,
        demo_classes=3,
    )
    assert {entries[i].label for i in split_images(entries, config)["validation"]} == {0, 1, 2}


def test_generate_rejects_too_few_images(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.demo_images"):
        demo_dataset.generate(tmp_path, 14, seed=0, classes=3)
    assert not list(tmp_path.iterdir())
