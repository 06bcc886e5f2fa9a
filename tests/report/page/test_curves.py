"""Tests of thinning curves."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.report.page.curves import thin_curve

unit = st.floats(0, 1)


def test_thin_curve_keeps_corners_only() -> None:
    x = [0, 0, 0, 0.5, 1, 1]
    y = [0, 0.3, 0.6, 0.8, 1, 1]
    assert thin_curve(x, y).tolist() == [0, 2, 5]


def test_thin_curve_keeps_one_and_two_points() -> None:
    assert thin_curve([0.5], [0.5]).tolist() == [0]
    assert thin_curve([0, 1], [0, 1]).tolist() == [0, 1]


@given(st.lists(st.tuples(unit, unit), min_size=2, max_size=40))
def test_thin_curve_stays_within_the_tolerance(points: list[tuple[float, float]]) -> None:
    x, y = np.array(points).T
    kept = thin_curve(x, y, tolerance=0.05)
    for first, last in itertools.pairwise(kept):
        start, end = np.array(points[first]), np.array(points[last])
        for i in range(first, last):
            along = np.linspace(0, 1, 201)[:, None] * (end - start) + start
            assert np.hypot(*(along - points[i]).T).min() <= 0.05 + 0.01
