"""Fit lines to measurements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """A line ``intercept + slope * x``."""

    intercept: float
    slope: float

    def __call__(self, x: float) -> float:
        return self.intercept + self.slope * x


def fit_line(points: Mapping[int, float]) -> Line:
    """Fit a line by least squares."""
    slope, intercept = np.polyfit(list(points), list(points.values()), 1)
    return Line(float(intercept), float(slope))
