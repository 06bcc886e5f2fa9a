"""The flags of a run, on splits whose scores are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.training.test_evaluation import TWO, data
from xray_hpc.metrics import class_logits, split_metrics
from xray_hpc.records.run_flags import Flag
from xray_hpc.training.find_flags import find_flags

TRAIN = [0] * 4 + [1] * 12  # the null model has a loss of 0.562, with balanced classes of 0.693
VALIDATION = [0, 0, 1, 1, 1, 1]  # of the null model: 0.654
LEARNED = [-2.0, -1.0, 1.0, 2.0, 3.0, 4.0]


def flags(
    outputs: list[float],
    *train_loss: float,
    balance: str = "none",
    test: list[float] | None = None,
    train: list[int] = TRAIN,
) -> list[str]:
    """Return the flags for outputs of a sigmoid and training losses of the epochs."""
    labels = np.array(train + VALIDATION)
    splits = {"train": np.arange(16), "validation": np.arange(16, 22)}
    dataset: Any = data(TWO, list(labels))
    dataset.splits.update(splits)
    logits, others = (class_logits(np.array(x)[:, None]) for x in (outputs, test or LEARNED))
    metrics = {
        "validation": split_metrics(VALIDATION, logits, TWO),
        "test": split_metrics(VALIDATION, others, TWO),
    }
    history = pd.DataFrame({"train_loss": train_loss})
    return [f.value for f in find_flags(dataset, balance, history, logits, **metrics)]


def test_run_that_learned_has_no_flags() -> None:
    assert flags(LEARNED, 0.7, 0.4) == []


@pytest.mark.parametrize("outputs", [[0.5] * 6, [500.0, 510.0, 520.0, 530.0, 540.0, 550.0]])
def test_equal_validation_scores_are_constant_only(outputs: list[float]) -> None:
    assert flags(outputs, 5.0) == ["constant"]


def test_auc_of_at_most_one_half_is_at_chance() -> None:
    assert flags([1.0, 0.9, 0.8, 0.7, 1.1, 1.2], 0.5) == ["at_chance"]
    assert flags([1.0, 0.9, 0.8, 0.95, 1.1, 1.2], 0.5) == []


def test_good_but_overconfident_run_has_no_flags() -> None:
    assert flags([50.0, 1.0, 40.0, 60.0, 61.0, 62.0], 0.1) == []  # a validation loss of 8


def test_short_run_with_a_good_validation_loss_has_no_flags() -> None:
    assert flags(LEARNED, 1.5) == []


@pytest.mark.parametrize(
    ("train_loss", "balance", "found"),
    [
        (0.57, "none", ["not_learning"]),
        (0.56, "none", ["not_learning"]),  # less than 1 % below the null model
        (0.55, "none", []),
        (0.69, "class_weights", ["not_learning"]),
        (0.68, "class_weights", []),
        (0.68, "sampling", []),
    ],
)
def test_losses_not_below_the_class_frequencies_are_not_learning(
    train_loss: float, balance: str, found: list[str]
) -> None:
    outputs = [x / 1000 for x in LEARNED]  # all scores are about 0.5
    assert flags(outputs, 0.9, train_loss, 0.8, balance=balance) == found


@pytest.mark.parametrize(("outputs", "found"), [(LEARNED, []), (LEARNED[::-1], ["at_chance"])])
def test_class_without_training_images_has_flags(outputs: list[float], found: list[str]) -> None:
    assert flags(outputs, 0.1, train=[0] * 16) == found


def test_many_tied_scores_of_a_split_are_flagged() -> None:
    assert flags([-2, -2, 1, 2, 3, 4], 0.4) == ["tied"]
    assert flags(LEARNED, 0.4, test=[-2, -1, 1, 2, 2, 2]) == ["tied"]


def test_flags_start_with_the_most_serious() -> None:
    assert flags([1, 1, 0.9, 0.9, 0.9, 0.9], 0.9) == ["at_chance", "not_learning", "tied"]
    assert [flag.value for flag in Flag][:2] == ["constant", "at_chance"]
