"""The scores table and the log lines of an evaluation, for two and three classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

from tests.scored_splits import sigmoid, softmax
from xray_hpc.config.run_config import AugmentConfig, DataConfig, ModelConfig, RunConfig
from xray_hpc.config.train_config import TrainConfig
from xray_hpc.data.dataset import Dataset
from xray_hpc.metrics import class_logits, split_metrics
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_flags import MEANINGS, Flag
from xray_hpc.records.run_metrics import SplitMetrics, read_metrics
from xray_hpc.training.epoch_callbacks import EpochTables
from xray_hpc.training.evaluation import build_scores_table, evaluate, format_report

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
    logits = np.array([[-61, 61], [0, 0]])
    table = build_scores_table(data(TWO, [0, 1, 1]), np.array([2, 0]), logits)
    assert table.to_csv(index=False).splitlines() == [
        "y_true,y_scores,logit,file,patient",
        "1,1.0,61,2.png,p2",
        "0,0.5,0,0.png,p0",
    ]


def test_scores_table_of_three_classes_has_a_column_per_class() -> None:
    table = build_scores_table(data(THREE, [0, 2]), np.array([1]), np.array([[0, 61, -61]]))
    names = ("Covid", "Normal", "Viral Pneumonia")
    scores, logits = ([f"{kind}_{name}" for name in names] for kind in ("y_scores", "logit"))
    assert list(table) == ["y_true", *scores, *logits, "file", "patient"]
    assert table[scores].to_numpy().round(9).tolist() == [[0.5, 1, 0]]
    assert table[logits].to_numpy().tolist() == [[0, 61, -61]]


@pytest.fixture
def evaluated(tmp_path: Path) -> Callable[[list[float]], SplitMetrics]:
    """Return a function that evaluates logits of four test images, of which the last two are ill.

    The three validation images have other logits each.
    """
    dataset = data(TWO, [0, 0, 1, 1, 0, 1, 1])
    splits = {"train": np.arange(7), "test": np.arange(4), "validation": np.arange(4, 7)}
    dataset = replace(dataset, splits=splits)
    config = RunConfig(
        data=DataConfig(source="folder", root="/xrays", image_size=8),
        model=ModelConfig("lung"),
        augment=AugmentConfig(),
        train=TrainConfig(epochs=1, batch_size=4, learning_rate=1.0),
        seed=0,
    )
    names = ("epoch", *EpochTables.METRICS)
    history = pd.DataFrame([dict.fromkeys(names, 0.5)])

    def evaluate_logits(logits: list[float]) -> SplitMetrics:
        outputs = {"test": np.float32(logits)[:, None], "validation": np.float32([[0], [1], [2]])}
        predict = SimpleNamespace(predict=lambda split: class_logits(outputs[split]))
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        fitted = SimpleNamespace(training_model=predict, model=model, history=history, best_epoch=1)
        evaluate(fitted, config, dataset, RunPaths(tmp_path))
        return read_metrics(RunPaths(tmp_path)).test

    return evaluate_logits


def test_saturated_scores_are_ranked_by_their_logits(
    evaluated: Callable[[list[float]], SplitMetrics], tmp_path: Path
) -> None:
    metrics = evaluated([40, 50, 60, 61])
    assert (metrics.auc, metrics.tied) == (1.0, 0.0)
    table = pd.read_csv(RunPaths(tmp_path).scores("lung", "test"))
    assert table["y_scores"].tolist() == [1.0] * 4
    assert table["logit"].tolist() == [40.0, 50.0, 60.0, 61.0]
    roc = pd.read_csv(RunPaths(tmp_path).roc("lung", "test"))
    assert roc[["fpr", "tpr"]].to_numpy().tolist() == [[0, 0], [0, 0.5], [0, 1], [1, 1]]
    assert roc["thresholds"].tolist() == [math.inf, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(("logits", "warned"), [([1, 2, 3, 4], False), ([1, 1, 3, 4], True)])
def test_tied_scores_are_logged(
    evaluated: Callable[[list[float]], SplitMetrics],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    logits: list[float],
    warned: bool,
) -> None:
    assert evaluated(logits).tied == (0.5 if warned else 0)
    assert [record.args for record in caplog.records] == (
        [("Tied", MEANINGS[Flag.TIED])] if warned else []
    )
    assert read_metrics(RunPaths(tmp_path)).flags == ([Flag.TIED] if warned else [])


def test_report_of_two_classes() -> None:
    logits = sigmoid([0.1, 0.6, 0.2, 0.9, 0.4])
    text = format_report("test", split_metrics([0, 0, 0, 1, 1], logits, TWO))
    assert text.splitlines() == [
        "test: accuracy 0.600, false negatives 1, false positives 1",
        "             precision    recall        f1    images",
        "  NORMAL         0.667     0.667     0.667         3",
        "  PNEUMONIA      0.500     0.500     0.500         2",
        "  accuracy                           0.600         5",
        "  macro mean     0.583     0.583     0.583         5",
    ]


def test_report_marks_undefined_values() -> None:
    logits = softmax([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]])
    text = format_report("test", split_metrics([0, 1, 1], logits, THREE))
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
    logits = np.eye(len(classes))
    _, *table = format_report(
        "test", split_metrics(range(len(classes)), logits, classes)
    ).splitlines()
    assert len({len(line) for line in table}) == 1
