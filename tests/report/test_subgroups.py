"""Metrics on the bacterial and viral images of a split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from xray_hpc.report.image_scores import ImageScores
from xray_hpc.report.subgroups import COLUMNS, MIN_IMAGES, etiology, subgroup_table

COUNTS = {"bacteria": 30, "virus": 20, "normal": 40}
NAMES = {
    "bacteria": "PNEUMONIA/person{}_bacteria_{}.jpeg",
    "virus": "PNEUMONIA/person{}_virus_{}.jpeg",
    "normal": "NORMAL/IM-{:04d}-{:04d}.jpeg",
}


def kinds_of(counts: dict[str, int]) -> np.ndarray[Any, Any]:
    return np.repeat(np.array(list(counts), dtype=object), list(counts.values()))


def images_of(
    counts: dict[str, int], classes: list[str], labels: dict[str, int], runs: int = 2
) -> ImageScores:
    """Return random logits of images, two of each patient."""
    kinds = kinds_of(counts)
    y = np.array([labels[kind] for kind in kinds])
    rng = np.random.default_rng(0)
    if len(classes) == 2:
        logits = y - 0.5 + rng.normal(0, 1, (runs, len(y)))
    else:
        logits = np.eye(len(classes))[y] + rng.normal(0, 1, (runs, len(y), len(classes)))
    files = np.array([NAMES[kind].format(i // 2, i) for i, kind in enumerate(kinds)])
    patients = np.array([f"{kind}{i // 2}" for i, kind in enumerate(kinds)])
    names = [f"run-{i}" for i in range(runs)]
    return ImageScores("test", classes, names, files, patients, True, y, logits)


def binary_images(**changes: int) -> ImageScores:
    labels = {"normal": 0, "bacteria": 1, "virus": 1}
    return images_of(COUNTS | changes, ["NORMAL", "PNEUMONIA"], labels)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("person1_bacteria_1.jpeg", "bacteria"),
        ("test/PNEUMONIA/person100_virus_7.jpeg", "virus"),
        ("train/VIRUS-1008087-0001.jpeg", "virus"),
        ("NORMAL/IM-0001-0001.jpeg", ""),
        ("bacteria-1/IM-0001-0001.jpeg", ""),
        ("antivirus_1.jpeg", ""),
    ],
)
def test_etiology_is_read_from_the_file_name(file: str, expected: str) -> None:
    assert etiology(file) == expected


def test_subgroup_table_has_sensitivity_and_auc_against_all_negatives() -> None:
    images = binary_images()
    table = subgroup_table("demo", images)
    assert list(table) == list(COLUMNS)
    assert len(table) == 2 * 2 * 2
    kinds, normal = kinds_of(COUNTS), images.y == 0
    for row in table.to_dict("records"):
        members = kinds == row["subgroup"]
        logits = images.logits[list(images.runs).index(row["run"])]
        expected = {
            "sensitivity": (logits[members] > 0).mean(),
            "auc": roc_auc_score(images.y[members | normal], logits[members | normal]),
        }
        assert row["value"] == pytest.approx(expected[row["metric"]])
        assert row["low"] < row["value"] < row["high"]
        assert (row["images"], row["patients"]) == (members.sum(), members.sum() // 2)


def test_subgroup_table_leaves_out_small_subgroups() -> None:
    assert set(subgroup_table("demo", binary_images(virus=MIN_IMAGES))["subgroup"]) == {
        *("bacteria", "virus")
    }
    assert set(subgroup_table("demo", binary_images(virus=MIN_IMAGES - 1))["subgroup"]) == {
        "bacteria"
    }


def test_subgroup_table_without_negatives_has_no_auc() -> None:
    table = subgroup_table("demo", binary_images(normal=0)).set_index("metric")
    assert table.loc["auc", ["value", "low", "high"]].isna().all(axis=None)
    assert table.loc["sensitivity", "value"].notna().all()


def test_subgroup_table_of_several_classes_has_the_accuracy() -> None:
    counts = {"bacteria": 30, "virus": 20, "normal": 40}
    labels = {"normal": 0, "bacteria": 1, "virus": 2}
    assert subgroup_table("demo", images_of(counts, ["A", "B", "C"], labels)).empty
    labels["virus"] = 1
    images = images_of(counts, ["A", "B", "C"], labels)
    table = subgroup_table("demo", images)
    assert set(table["metric"]) == {"accuracy"}
    right = images.logits[0].argmax(axis=1) == images.y
    found = table[(table["run"] == "run-0") & (table["subgroup"] == "virus")]
    assert found["value"].item() == pytest.approx(right[kinds_of(counts) == "virus"].mean())


def test_subgroup_table_leaves_out_a_subgroup_that_is_a_class() -> None:
    assert subgroup_table("demo", binary_images(bacteria=0)).empty
