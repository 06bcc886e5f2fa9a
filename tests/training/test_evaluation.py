"""The scores table and the log lines of an evaluation, for two and three classes."""

from __future__ import annotations

import numpy as np
import pytest

from xray_hpc.data.dataset import Dataset
from xray_hpc.metrics import probabilities, split_metrics
from xray_hpc.training.evaluation import build_scores_table, format_report

TWO = ("NORMAL", "PNEUMONIA")
THREE = ("Covid", "Normal", "Viral Pneumonia")


def data(classes: tuple[str, ...], labels: list[int]) -> Dataset:
    return Dataset(
        images=np.zeros((len(labels), 8, 8, 1), np.uint8),
        labels=np.array(labels, np.int64),
        files=[f"{i}.png" for i in range(len(labels))],
        patients=[f"p{i}" for i in range(len(labels))],
        classes=classes,
        splits={},
        fingerprint="",
        notes=[],
        skipped=[],
        contents="",
    )


def test_scores_table_of_two_classes_has_one_score_column() -> None:
    scores = probabilities(np.array([[0.25], [0.75]]))
    table = build_scores_table(data(TWO, [0, 1, 1]), np.array([2, 0]), scores)
    assert table.to_csv(index=False).splitlines() == [
        "y_true,y_scores,file,patient",
        "1,0.25,2.png,p2",
        "0,0.75,0.png,p0",
    ]


def test_scores_table_of_three_classes_has_a_column_per_class() -> None:
    table = build_scores_table(data(THREE, [0, 2]), np.array([1]), np.array([[0.5, 0.25, 0.25]]))
    assert table.to_csv(index=False).splitlines() == [
        "y_true,y_scores_Covid,y_scores_Normal,y_scores_Viral Pneumonia,file,patient",
        "2,0.5,0.25,0.25,1.png,p1",
    ]


def test_report_of_two_classes() -> None:
    scores = probabilities(np.array([[0.1], [0.6], [0.2], [0.9], [0.4]]))
    text = format_report("test", split_metrics([0, 0, 0, 1, 1], scores, TWO))
    assert text.splitlines() == [
        "test: accuracy 0.600, false negatives 1, false positives 1",
        "             precision    recall        f1    images",
        "  NORMAL         0.667     0.667     0.667         3",
        "  PNEUMONIA      0.500     0.500     0.500         2",
        "  accuracy                           0.600         5",
        "  macro mean     0.583     0.583     0.583         5",
    ]


def test_report_marks_undefined_values() -> None:
    scores = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]])
    text = format_report("test", split_metrics([0, 1, 1], scores, THREE))
    assert text.splitlines() == [
        "test: accuracy 0.667, AUC 1.000",
        "                  precision    recall        f1    images",
        "  Covid               0.500     1.000     0.667         1",
        "  Normal              1.000     0.500     0.667         2",
        "  Viral Pneumonia         -         -         -         0",
        "  accuracy                                0.667         3",
        "  macro mean          0.750     0.750     0.667         3",
    ]


@pytest.mark.parametrize("classes", [TWO, THREE])
def test_report_lines_are_equally_wide(classes: tuple[str, ...]) -> None:
    scores = np.eye(len(classes))
    _, *table = format_report(
        "test", split_metrics(range(len(classes)), scores, classes)
    ).splitlines()
    assert len({len(line) for line in table}) == 1
