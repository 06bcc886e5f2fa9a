"""A small simulation: intervals by patient cover the truth about as often as they promise."""

from __future__ import annotations

import pytest

from tests.statistics.score_coverage import METRICS, interval_coverage
from tests.statistics.simulated_patients import SCENARIOS


@pytest.mark.parametrize("name", ["1.6 a patient", "5 a patient", "66 images"])
def test_intervals_cover_the_truth(name: str) -> None:
    coverage = interval_coverage(SCENARIOS[name], simulations=200)
    # The standard error of a coverage of 95 % is 1.5 % here.
    assert set(coverage) == set(METRICS)
    assert min(coverage.values()) >= 0.89, coverage
