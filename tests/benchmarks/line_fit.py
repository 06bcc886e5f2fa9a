"""Lines through what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """What something costs at nothing, and for each one more."""

    intercept: float
    slope: float

    def __call__(self, x: float) -> float:
        return self.intercept + self.slope * x


def line(points: Mapping[int, float]) -> Line:
    """The line nearest to the points, by least squares."""
    slope, intercept = np.polyfit(list(points), list(points.values()), 1)
    return Line(float(intercept), float(slope))
