"""Drawing primitives of synthetic X-rays: fields over the image, soft shapes and lines.

Patient coordinates: ``x`` from the patient's right (left on the film) to the left, ``y`` from head
to foot, both about -1 to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Field = NDArray[Any]
"""Floats over the image, ``[height, width]``."""
Point = tuple[float, float]
Stroke = tuple[NDArray[np.float64], float, float]
"""A line: points ``[n, 2]``, width, and strength from 0 to 1."""


@dataclass(frozen=True)
class View:
    """How an image is taken: pose, breath, exposure, and objects on the plate."""

    shape: tuple[int, int]
    angle: float
    scale: float
    shift: tuple[float, float]
    turn: float
    breath: float
    level: float
    contrast: float
    grain: float
    blur: float
    shading: tuple[float, float]
    cables: int
    seed: int


def draw_view(rng: np.random.Generator, shape: tuple[int, int]) -> View:
    """Draw a random view for an image of ``shape`` (height, width) in pixels."""
    return View(
        shape=shape,
        angle=math.radians(float(np.clip(rng.normal(0, 3), -8, 8))),
        scale=float(rng.uniform(1.02, 1.3)),
        shift=(float(rng.normal(0, 0.04)), float(rng.normal(0.13, 0.05))),
        turn=float(np.clip(rng.normal(0, 0.04), -0.09, 0.09)),
        breath=float(np.clip(rng.normal(0, 0.05), -0.13, 0.07)),
        level=float(rng.normal(0.86, 0.08)),
        contrast=float(rng.uniform(0.85, 1.2)),
        grain=float(rng.uniform(0.006, 0.020)),
        blur=float(rng.uniform(0.45, 0.9)),
        shading=(float(rng.normal(0, 0.05)), float(rng.normal(0, 0.05))),
        cables=int(rng.choice([0, 0, 0, 0, 0, 1, 1, 2])),
        seed=int(rng.integers(2**32)),
    )


def patient_coordinates(view: View) -> tuple[Field, Field]:
    """Return the patient coordinates ``(x, y)`` of every pixel."""
    height, width = view.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    gx = (2 * columns + 1 - width) / height - view.shift[0]
    gy = (2 * rows + 1) / height - 1 - view.shift[1]
    cos, sin = math.cos(view.angle) / view.scale, math.sin(view.angle) / view.scale
    return gx * cos + gy * sin, gy * cos - gx * sin


def pixels(view: View, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the pixel positions ``[n, 2]`` of ``points`` in patient coordinates."""
    height, width = view.shape
    cos, sin = math.cos(view.angle) * view.scale, math.sin(view.angle) * view.scale
    gx = points[:, 0] * cos - points[:, 1] * sin + view.shift[0]
    gy = points[:, 1] * cos + points[:, 0] * sin + view.shift[1]
    return np.stack([(gx * height + width) / 2, (gy + 1) * height / 2], axis=1)


def clouds(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> Field:
    """Return smooth noise of unit variance, interpolated from ``cells`` random knots per side."""
    knots = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
    field = np.asarray(knots.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))
    return np.asarray(field / (field.std() + 1e-6), np.float32)


def step(field: Field, softness: float) -> Field:
    """Return 0 where ``field`` is negative, 1 where positive, with an edge ``softness`` wide."""
    ramp = field * (0.5 / softness)
    ramp += 0.5
    np.clip(ramp, 0, 1, out=ramp)
    smooth = ramp * ramp
    ramp *= -2
    ramp += 3
    smooth *= ramp
    return smooth


def bump(y: Field, centre: float, width: float) -> Field:
    """Return a Gaussian of height 1."""
    return np.asarray(np.exp(-(((y - centre) / width) ** 2)), np.float32)


def ellipse(x: Field, y: Field, centre: Point, radii: Point, angle: float = 0.0) -> Field:
    """Return 1 at the centre, 0 on the outline and negative values outside."""
    dx, dy = x - centre[0], y - centre[1]
    along = (dx * math.cos(angle) + dy * math.sin(angle)) / radii[0]
    across = (dy * math.cos(angle) - dx * math.sin(angle)) / radii[1]
    return np.asarray(1 - along * along - across * across, np.float32)


def capsule(x: Field, y: Field, start: Point, end: Point) -> Field:
    """Return the distance to the line segment from ``start`` to ``end``."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy)
    along = np.clip(along, 0, 1)
    off_x, off_y = x - start[0] - along * dx, y - start[1] - along * dy
    return np.asarray(np.sqrt(off_x * off_x + off_y * off_y), np.float32)


def blur(field: Field, sigma: float) -> Field:
    """Apply a Gaussian blur with ``sigma`` in pixels, repeating the edges."""
    reach = max(1, math.ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        length = field.shape[axis]
        padding = [(0, 0), (0, 0)]
        padding[axis] = (reach, reach)
        padded = np.moveaxis(np.pad(field, padding, mode="edge"), axis, 0)
        summed = sum(float(w) * padded[i : i + length] for i, w in enumerate(weights))
        field = np.moveaxis(np.asarray(summed), 0, axis)
    return field


def strokes(view: View, lines: list[Stroke], *, on_plate: bool = False) -> Field:
    """Draw lines; where they cross, their strengths do not add up.

    Points and widths are in patient coordinates, or in pixels if ``on_plate``. Lines are drawn at
    twice the size and averaged.
    """
    height, width = view.shape
    image = Image.new("L", (2 * width, 2 * height))
    draw = ImageDraw.Draw(image)
    points = np.concatenate([line[0] for line in lines])
    at = np.round(2 * (points if on_plate else pixels(view, points))).astype(int)
    unit = 1.0 if on_plate else view.scale * height / 2
    paths = np.split(at, np.cumsum([len(line) for line, _, _ in lines[:-1]]))
    for path, (_, thickness, strength) in zip(paths, lines, strict=True):
        pen = max(1, round(2 * thickness * unit))
        draw.line(path.ravel().tolist(), fill=int(255 * strength), width=pen)
    return np.asarray(image.reduce(2), np.float32) / 255
