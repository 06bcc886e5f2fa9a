"""Shares of the variance over runs that keys explain."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from xray_hpc.statistics.importance import explained_shares

GRID = list(itertools.product([1e-4, 1e-3, 1e-2], [0, 5, 10], ["cnn", "ft"]))
KEYS = {
    "lr": [row[0] for row in GRID],
    "unfreeze": [row[1] for row in GRID],
    "model": [row[2] for row in GRID],
}


def test_explained_shares_are_about_those_of_an_additive_function() -> None:
    effect = {1e-4: -2.0, 1e-3: 0.0, 1e-2: 2.0}
    results = [effect[lr] + (1.0 if model == "ft" else -1.0) for lr, _, model in GRID]
    shares = explained_shares(KEYS, results)
    assert shares["lr"] == pytest.approx(8 / 3 / (8 / 3 + 1), abs=0.1)
    assert shares["model"] == pytest.approx(1 / (8 / 3 + 1), abs=0.1)
    assert shares["unfreeze"] < 0.02


def test_explained_shares_leave_an_interaction_unexplained() -> None:
    results = [(1.0 if lr == 1e-2 else 0.0) * (1 if model == "ft" else -1) for lr, _, model in GRID]
    assert sum(explained_shares(KEYS, results).values()) < 0.6


def test_explained_shares_are_the_same_each_time() -> None:
    results = list(np.random.default_rng(0).normal(size=len(GRID)))
    assert explained_shares(KEYS, results) == explained_shares(KEYS, results)


def test_explained_shares_of_a_monotone_function_of_a_key_are_the_same() -> None:
    results = [math.log(lr) + unfreeze / 5 for lr, unfreeze, _ in GRID]
    logarithms = KEYS | {"lr": [math.log(lr) for lr in KEYS["lr"]]}
    assert explained_shares(KEYS, results) == explained_shares(logarithms, results)


def test_keys_with_one_value_explain_nothing() -> None:
    assert set(explained_shares(KEYS | {"seed": [1] * len(GRID)}, [*map(float, range(18))])) == {
        "lr",
        "unfreeze",
        "model",
    }


def test_runs_without_a_finite_result_are_left_out() -> None:
    results = [float(index) for index in range(18)]
    diverged = {key: [*values, values[0]] for key, values in KEYS.items()}
    assert explained_shares(diverged, [*results, math.nan]) == explained_shares(KEYS, results)


@pytest.mark.parametrize("results", [[1.0, 2.0, 3.0], [1.0] * 5, [math.nan] * 5, []])
def test_too_few_or_equal_results_explain_nothing(results: list[float]) -> None:
    assert explained_shares({"lr": [*range(len(results))]}, results) == {}


def test_keys_may_mix_numbers_texts_and_nothing() -> None:
    values = [None, None, 5, 5, "auto", "auto", True, True]
    shares = explained_shares({"unfreeze": values}, [1.0, 1, 2, 2, 3, 3, 4, 4])
    assert shares["unfreeze"] > 0.8


def test_explained_shares_of_many_runs_leave_out_their_noise() -> None:
    rng = np.random.default_rng(0)
    lr, noise = 10 ** rng.uniform(-5, -2, 1000), rng.standard_normal(1000)
    results = (np.log10(lr) + noise).tolist()
    shares = explained_shares({"lr": lr.tolist(), "dropout": rng.random(1000).tolist()}, results)
    assert shares["lr"] == pytest.approx(np.var(np.log10(lr)) / np.var(results), abs=0.03)
    assert shares["dropout"] < 0.03
