from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xray_hpc.data import demo
from xray_hpc.data.patients import patient_of
from xray_hpc.errors import UserError


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("demo")
    demo.generate(folder, 50, seed=3, classes=2)
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.jpeg"))
    }


def test_one_image_in_five_is_for_the_test_and_three_in_five_show_pneumonia(drawn: Path) -> None:
    counts = Counter(path.rsplit("/", 1)[0] for path in digests(drawn))
    assert counts == {
        "train/NORMAL": 16,
        "train/PNEUMONIA": 24,
        "test/NORMAL": 4,
        "test/PNEUMONIA": 6,
    }


def test_the_same_seed_draws_the_same_bytes(drawn: Path, tmp_path: Path) -> None:
    demo.generate(tmp_path, 50, seed=3, classes=2)
    assert digests(tmp_path) == digests(drawn)


def test_another_seed_draws_other_images(drawn: Path, tmp_path: Path) -> None:
    demo.generate(tmp_path, 50, seed=4, classes=2)
    assert not set(digests(tmp_path).values()) & set(digests(drawn).values())


def test_no_two_images_are_alike(drawn: Path) -> None:
    assert len(set(digests(drawn).values())) == 50


def test_images_are_grey_jpegs_of_full_range(drawn: Path) -> None:
    for path in drawn.rglob("*.jpeg"):
        with Image.open(path) as image:
            assert (image.format, image.mode, image.height) == ("JPEG", "L", demo.HEIGHT)
            pixels = np.asarray(image)
        assert pixels.max() > 150
        assert pixels.min() < 60


def test_a_patient_looks_the_same_whatever_the_number_of_images(
    drawn: Path, tmp_path: Path
) -> None:
    demo.generate(tmp_path, 20, seed=3, classes=2)
    first = "train/NORMAL/IM-0115-0001.jpeg"
    assert digests(tmp_path)[first] == digests(drawn)[first]


def test_file_names_tell_the_patients_apart() -> None:
    people: dict[str, set[demo.Patient]] = defaultdict(set)
    for path, patient, _ in demo.plan(2000, seed=0, classes=2):
        people[patient_of(path.name, path.parent.name)].add(patient)
    assert {len(same_name) for same_name in people.values()} == {1}
    everyone = [patient for same_name in people.values() for patient in same_name]
    assert len(everyone) == len(set(everyone))


def test_several_images_show_one_patient() -> None:
    images = Counter(patient for _, patient, _ in demo.plan(500, seed=0, classes=2))
    assert set(images.values()) == {1, 2, 3, 4}


def test_no_patient_is_in_train_and_test() -> None:
    patients: dict[str, set[demo.Patient]] = defaultdict(set)
    for path, patient, _ in demo.plan(2000, seed=0, classes=2):
        patients[path.parts[0]].add(patient)
    assert not patients["train"] & patients["test"]


def test_person_numbers_recur_between_train_and_test_for_other_people() -> None:
    persons: dict[str, set[str]] = defaultdict(set)
    for path, patient, _ in demo.plan(2000, seed=0, classes=2):
        if patient.kind != "normal":
            persons[path.parts[0]].add(path.name.split("_")[0])
    assert persons["train"] & persons["test"]


def test_no_two_files_have_one_name() -> None:
    paths = [path for path, _, _ in demo.plan(2000, seed=0, classes=2)]
    assert len(paths) == len(set(paths)) == 2000


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.demo_images is 14; it must be 15 or more"):
        demo.generate(tmp_path, 14, seed=0, classes=3)
    assert not list(tmp_path.iterdir())
