"""Thin curves for display."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

TOLERANCE = 0.001  # of the unit square: a fifth of a pixel


def thin_curve(
    x: npt.ArrayLike, y: npt.ArrayLike, tolerance: float = TOLERANCE
) -> npt.NDArray[np.intp]:
    """Return the indices of the points that are enough to draw a curve of ``N`` points.

    The polyline through them is at most ``tolerance`` from every other point (Ramer 1972; Douglas
    and Peucker 1973). The first and the last point are kept.
    """
    points = np.column_stack([np.asarray(x, float), np.asarray(y, float)])
    keep = np.zeros(len(points), bool)
    keep[[0, -1]] = True
    pending = [(0, len(points) - 1)]
    while pending:
        first, last = pending.pop()
        if last - first < 2:
            continue
        distances = _distances(points[first + 1 : last], points[first], points[last])
        farthest = int(distances.argmax())
        if distances[farthest] > tolerance:
            middle = first + 1 + farthest
            keep[middle] = True
            pending += [(first, middle), (middle, last)]
    return np.flatnonzero(keep)


def _distances(
    points: npt.NDArray[np.float64], start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the distances of ``[N, 2]`` points to the segment from ``start`` to ``end``."""
    segment = end - start
    length = float(segment @ segment)
    along = np.clip((points - start) @ segment / length, 0, 1) if length else np.zeros(len(points))
    gaps: npt.NDArray[np.float64] = np.hypot(*(points - start - along[:, None] * segment).T)
    return gaps
