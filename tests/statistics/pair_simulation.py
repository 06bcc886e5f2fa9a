"""Measure the coverage of the AUC and of proportions, and the size of the tests of pairs.

Usage: ``python -m tests.statistics.pair_simulation [SIMULATIONS]`` prints a table for
docs/explanation/statistics.md, in percent: the coverage of 95 % intervals, then the share of pairs
of equally good models that a test at 5 % calls different, with clustering and without.
"""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
from scipy.special import expit

from tests.statistics.simulated_patients import LARGE, SCENARIOS, Images, Scenario, draw_images
from xray_hpc.statistics.clustered_auc import auc_components, auc_differences, auc_estimates
from xray_hpc.statistics.clustered_proportions import accuracy_differences, binary_proportions

INTERVALS = ("auc", "accuracy", "sensitivity", "specificity", "ppv", "npv")


def interval_coverage(scenario: Scenario, simulations: int, seed: int = 1) -> dict[str, float]:
    """Return the share of simulations whose interval covers the truth; without one it does not."""
    rng = np.random.default_rng(seed)
    truth = {
        name: limits[0] for name, limits in _estimates(draw_images(rng, scenario, LARGE)).items()
    }
    hits: Counter[str] = Counter()
    for _ in range(simulations):
        for name, (_, low, high) in _estimates(draw_images(rng, scenario)).items():
            hits[name] += low <= truth[name] <= high
    return {name: hits[name] / simulations for name in INTERVALS}


def _estimates(images: Images) -> dict[str, tuple[float, float, float]]:
    scores = expit(images.logits)[None]
    auc = auc_estimates(auc_components(images.y, images.logits[None], images.patients))
    found = {"auc": auc} | binary_proportions(images.y, scores, 0.5, images.patients)
    return {name: tuple(float(part[0]) for part in estimate) for name, estimate in found.items()}


def rejection_rates(scenario: Scenario, simulations: int, seed: int = 2) -> dict[str, float]:
    """Return how often a test at 5 % rejects for two models of equal truth.

    The second model scores the images of a patient with noise of its own, as the first one does.
    ``images`` are the same tests with each image as a patient of its own (DeLong, McNemar).
    """
    rng = np.random.default_rng(seed)
    rejected: Counter[str] = Counter()
    for _ in range(simulations):
        y, scores, patients = _equal_models(rng, scenario)
        for name, clusters in (("patients", patients), ("images", np.arange(len(y)))):
            auc = auc_differences(auc_components(y, scores, clusters), 0)
            accuracy = accuracy_differences((scores > 0) == (y == 1), 0, clusters)
            rejected[f"auc, {name}"] += auc.p[1] < 0.05
            rejected[f"accuracy, {name}"] += accuracy.p[1] < 0.05
    return {name: count / simulations for name, count in rejected.items()}


def _equal_models(rng: np.random.Generator, scenario: Scenario) -> tuple[np.ndarray, ...]:
    """Return labels, scores ``[2, N]`` and patients; the models' errors are exchangeable."""
    images = draw_images(rng, scenario)
    patients = np.unique(images.patients, return_inverse=True)[1].reshape(-1)
    spread = float(images.logits.std())
    share = np.sqrt(scenario.correlation)
    own = rng.normal(size=(2, patients.max() + 1))[:, patients] * share
    own += rng.normal(size=(2, len(patients))) * np.sqrt(1 - share**2)
    return images.y, images.logits + spread / 2 * own, patients


def main() -> None:
    simulations = int(sys.argv[1]) if sys.argv[1:] else 2000
    sizes = [f"{test}, {unit}" for test in ("auc", "accuracy") for unit in ("patients", "images")]
    print("| images |", " | ".join([*INTERVALS, *sizes]), "|")
    print("| --- |", " | ".join(["--:"] * (len(INTERVALS) + len(sizes))), "|")
    for name, scenario in SCENARIOS.items():
        covered = interval_coverage(scenario, simulations)
        found = rejection_rates(scenario, simulations)
        cells = [covered[key] for key in INTERVALS] + [found[key] for key in sizes]
        print(f"| {name} |", " | ".join(f"{100 * cell:.1f}" for cell in cells), "|", flush=True)


if __name__ == "__main__":
    main()
