"""How the images of the splits differ."""

from __future__ import annotations

import numpy as np

from xray_hpc.report.image_scores import ImageScores
from xray_hpc.report.shift import COLUMNS, shift_table


def images_of(split: str, y: list[int], classes: list[str]) -> ImageScores:
    files = np.array([f"{i}.png" for i in range(len(y))])
    logits = np.zeros((1, len(y)))
    return ImageScores(split, classes, ["ft-1"], files, files, True, np.array(y), logits)


def test_shift_table_has_the_prevalence_of_each_class_and_split() -> None:
    classes = ["NORMAL", "PNEUMONIA"]
    splits = [
        images_of("validation", [0, 1, 1, 1], classes),
        images_of("test", [0, 0, 0, 1, 1], classes),
    ]
    table = shift_table("demo", splits)
    assert list(table) == list(COLUMNS)
    assert table.to_numpy().tolist() == [
        ["demo", "prevalence", "validation", "NORMAL", 0.25],
        ["demo", "prevalence", "validation", "PNEUMONIA", 0.75],
        ["demo", "prevalence", "test", "NORMAL", 0.6],
        ["demo", "prevalence", "test", "PNEUMONIA", 0.4],
    ]


def test_shift_table_counts_a_class_without_images_as_zero() -> None:
    table = shift_table("demo", [images_of("test", [0, 1], ["A", "B", "C"])])
    assert dict(zip(table["class"], table["value"], strict=True)) == {"A": 0.5, "B": 0.5, "C": 0.0}


def test_shift_table_without_scores_is_empty() -> None:
    table = shift_table("demo", [])
    assert table.empty
    assert list(table) == list(COLUMNS)
