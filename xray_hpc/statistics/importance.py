"""How much of the variation of a result over runs each swept key explains.

It is the functional analysis of variance of Hutter, Hoos and Leyton-Brown (2014), which Optuna uses
too: a random forest predicts the result from the keys, and a key explains the variance of its
marginal, the mean prediction over the other keys. Shares are at most 1 in sum; what is missing
are interactions of keys, and what no key explains. Unlike a correlation it needs no order of the
values and no line, and unlike the eta squared of one key it does not credit a key with the effect
of another one that went along with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from xray_hpc.statistics.binary_metrics import Floats

MIN_RUNS = 4
TREES = 64
MAX_LEVELS = 32
"""Of a key with more values, the marginal is taken at this many quantiles of them."""

LEAVES = 50
"""At most so many leaves a tree, so that with many runs it averages over their noise."""

COMBINATIONS = 4096
"""Combinations of values, drawn key by key, over which predictions are averaged."""

Levels: TypeAlias = npt.NDArray[np.float64]


def explained_shares(
    keys: Mapping[str, Sequence[Any]], results: Sequence[float]
) -> dict[str, float]:
    """Return the share of the variance of ``results`` that each key explains, 0 to 1.

    Args:
        keys: the values ``[runs]`` of each key: numbers, texts, truth values or None.
        results: ``[runs]``; runs without a finite result are left out.

    Returns:
        A share for each key with at least two values; nothing with fewer than four runs or with
        equal results, where nothing can be estimated.
    """
    finite = np.isfinite(np.asarray(results, np.float64))
    y = np.asarray(results, np.float64)[finite]
    codes = {key: _ranks(values)[finite] for key, values in keys.items()}
    codes = {key: ranks for key, ranks in codes.items() if len(np.unique(ranks)) > 1}
    if len(y) < MIN_RUNS or np.ptp(y) == 0 or not codes:
        return {}
    return dict(zip(codes, _main_effects(np.stack(list(codes.values()), axis=1), y), strict=True))


def _main_effects(x: Floats, y: Floats) -> list[float]:
    """Return the share of the variance ``[K]`` of the results that columns explain.

    Combinations of values that were not run may differ more than the runs do; then the share is
    that of the variance of the predictions, so that shares are at most 1 in sum.
    """
    from sklearn.ensemble import RandomForestRegressor

    leaf = max(1, len(y) // LEAVES)
    forest = RandomForestRegressor(TREES, min_samples_leaf=leaf, random_state=0, n_jobs=1)
    forest.fit(x, y)
    rng = np.random.default_rng(0)
    sample = np.stack([rng.choice(column, COMBINATIONS) for column in x.T], axis=1)
    total = max(float(np.var(y)), float(np.var(forest.predict(sample))))
    effects = []
    for column in range(x.shape[1]):
        levels, share = _levels(x[:, column])
        marginal = np.array([_mean_with(forest, sample, column, level) for level in levels])
        mean = float(share @ marginal)
        effects.append(min(1.0, float(share @ (marginal - mean) ** 2) / total))
    return effects


def _mean_with(forest: Any, sample: Floats, column: int, level: float) -> float:
    fixed = sample[: COMBINATIONS // 8].copy()
    fixed[:, column] = level
    return float(forest.predict(fixed).mean())


def _levels(column: Floats) -> tuple[Levels, Levels]:
    """Return the values of a column, or quantiles of many, and the share of runs of each."""
    levels, counts = np.unique(column, return_counts=True)
    if len(levels) > MAX_LEVELS:
        quantiles = np.quantile(column, (np.arange(MAX_LEVELS) + 0.5) / MAX_LEVELS)
        return quantiles, np.full(MAX_LEVELS, 1 / MAX_LEVELS)
    return levels, counts / counts.sum()


def _ranks(values: Sequence[Any]) -> Floats:
    """Return the rank of each value among the distinct ones: numbers by size, then texts.

    Trees see only the order, so a learning rate needs no logarithm.
    """
    keys = [(0, v, "") if _is_number(v) else (1, 0, str(v)) for v in values]
    rank = {key: float(place) for place, key in enumerate(sorted(set(keys)))}
    return np.array([rank[key] for key in keys])


def _is_number(value: Any) -> bool:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        return False
    return not math.isnan(value)
