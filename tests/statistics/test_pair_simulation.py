"""Coverage and test size where patients have several images, by a small simulation."""

from __future__ import annotations

from tests.statistics.pair_simulation import INTERVALS, interval_coverage, rejection_rates
from tests.statistics.simulated_patients import SCENARIOS

SEVERAL = SCENARIOS["5 a patient"]


def test_intervals_by_patient_cover_the_truth() -> None:
    covered = interval_coverage(SEVERAL, simulations=60)
    assert min(covered[name] for name in INTERVALS) >= 0.85


def test_tests_by_patient_keep_their_size_where_tests_by_image_do_not() -> None:
    rates = rejection_rates(SEVERAL, simulations=60)
    assert rates["auc, patients"] <= 0.15 < rates["auc, images"]
    assert rates["accuracy, patients"] <= 0.15
