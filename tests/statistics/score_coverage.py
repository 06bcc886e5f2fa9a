"""Measure how often 95 % intervals by patient cover the truth, beside a bootstrap by patient.

Usage: ``python -m tests.statistics.score_coverage [SIMULATIONS [RESAMPLES]]`` prints a table for
docs/explanation/statistics.md. A cell is the coverage of the interval in the report, then that of
percentiles of a bootstrap by patient, in percent.
"""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
from scipy.special import expit

from tests.statistics.simulated_patients import (
    LARGE,
    SCENARIOS,
    Images,
    Numbers,
    Scenario,
    draw_images,
)
from xray_hpc.statistics.binary_metrics import (
    Counts,
    log_losses,
    squared_errors,
    threshold_metrics,
)
from xray_hpc.statistics.patient_estimates import score_estimates, threshold_estimates
from xray_hpc.statistics.patient_sums import patient_codes, patient_sums

METRICS = ("average_precision", "balanced_accuracy", "f1", "mcc", "loss", "brier")


def interval_coverage(scenario: Scenario, simulations: int, seed: int = 1) -> dict[str, float]:
    """Return the share of simulations whose interval covers the truth; without one it does not."""
    rng = np.random.default_rng(seed)
    truth = true_values(rng, scenario)
    hits: Counter[str] = Counter()
    for _ in range(simulations):
        hits.update(covered(intervals(draw_images(rng, scenario)), truth))
    return {name: hits[name] / simulations for name in METRICS}


def compare(scenario: Scenario, simulations: int, resamples: int) -> dict[str, tuple[float, float]]:
    """Return the coverage of the intervals, and of percentiles of a bootstrap by patient."""
    rng = np.random.default_rng(1)
    truth = true_values(rng, scenario)
    hits: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for _ in range(simulations):
        images = draw_images(rng, scenario)
        hits[0].update(covered(intervals(images), truth))
        hits[1].update(covered(percentiles(images, resamples, rng), truth))
    return {name: (hits[0][name] / simulations, hits[1][name] / simulations) for name in METRICS}


def true_values(rng: np.random.Generator, scenario: Scenario) -> dict[str, float]:
    return {name: value for name, (value, _, _) in estimates(draw_images(rng, scenario, LARGE))}


def estimates(images: Images) -> list[tuple[str, tuple[float, float, float]]]:
    y, x, patients = images
    found = threshold_estimates(y, expit(x)[None], 0.5, patients) | score_estimates(
        y, x[None], patients
    )
    return [(name, (e.value[0], e.low[0], e.high[0])) for name, e in found.items()]


def intervals(images: Images) -> dict[str, tuple[float, float]]:
    return {name: (low, high) for name, (_, low, high) in estimates(images)}


def covered(limits: dict[str, tuple[float, float]], truth: dict[str, float]) -> list[str]:
    return [name for name, (low, high) in limits.items() if low <= truth[name] <= high]


def percentiles(
    images: Images, resamples: int, rng: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """Return the 2.5 and 97.5 % quantiles of metrics over resamples of patients."""
    codes, size = patient_codes(images.patients)
    drawn = rng.multinomial(size, np.full(size, 1 / size), resamples).astype(np.float64)
    positive, predicted = images.y == 1, images.logits > 0
    cells = np.stack(
        [predicted & positive, predicted & ~positive, ~predicted & ~positive, ~predicted & positive]
    )
    counts = Counts(*(drawn @ patient_sums(cells, codes, size).T).T)
    found = {
        **threshold_metrics(counts),
        "average_precision": resampled_precision(images, drawn, codes),
    }
    each = np.stack(
        [log_losses(images.y, images.logits), squared_errors(images.y, expit(images.logits))]
    )
    means = (drawn @ patient_sums(each, codes, size).T).T / sum(counts)
    found |= {"loss": means[0], "brier": means[1]}
    limits = {name: np.nanquantile(found[name], [0.025, 0.975]) for name in METRICS}
    return {name: (float(low), float(high)) for name, (low, high) in limits.items()}


def resampled_precision(images: Images, drawn: Numbers, codes: Numbers) -> Numbers:
    """Return the average precision of each resample; no two scores of a simulation are equal."""
    order = np.argsort(-images.logits)
    weights = drawn.T[codes[order]]
    hits = weights * images.y[order, None]
    found = np.cumsum(hits, axis=0)
    total = np.maximum(np.cumsum(weights, axis=0), 1)
    return np.asarray((hits * found / total).sum(axis=0) / found[-1])


def main() -> None:
    simulations, resamples = [int(text) for text in sys.argv[1:3]] or [1000, 400]
    print("| images | " + " | ".join(METRICS) + " |")
    print("|---" * (len(METRICS) + 1) + "|")
    for name, scenario in SCENARIOS.items():
        found = compare(scenario, simulations, resamples)
        cells = [f"{100 * own:.1f} · {100 * other:.1f}" for own, other in found.values()]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
