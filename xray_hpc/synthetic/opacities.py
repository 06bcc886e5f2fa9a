"""Opacities in synthetic lungs, to be added to the attenuation of a chest.

Each function returns a field ``[height, width]`` weighted by the air it replaces, so that nothing
shows outside the lungs. ``side`` is 0 for the patient's right lung and 1 for the left. ``strength``
is the attenuation where the lung is thickest (0.1 is faint, 0.5 dense).
"""

from __future__ import annotations

import math

import numpy as np

from xray_hpc.synthetic.anatomy import SIDES, Chest
from xray_hpc.synthetic.shapes import Field, Stroke, View, blur, clouds, ellipse, step, strokes

ZONES = {"upper": -0.42, "middle": -0.12, "lower": 0.16}


def consolidation(
    chest: Chest, rng: np.random.Generator, side: int, zone: str, strength: float
) -> Field:
    """Draw a filled lobe or part of a lobe: one large cloud with a soft, ragged edge."""
    centre = (SIDES[side] * rng.uniform(0.22, 0.48), ZONES[zone] + rng.normal(0, 0.05))
    radii = (rng.uniform(0.20, 0.34), rng.uniform(0.18, 0.32))
    shape = ellipse(chest.x, chest.y, centre, radii, rng.uniform(-0.7, 0.7))
    ragged = shape + 0.35 * clouds(rng, shape.shape, 9)
    inner = 0.85 + 0.2 * clouds(rng, shape.shape, 16)
    return strength * step(ragged, 0.55) * np.clip(inner, 0.3, 1.3) * chest.lungs[side]


def patches(chest: Chest, rng: np.random.Generator, side: int, strength: float) -> Field:
    """Draw bronchopneumonia: several small clouds of uneven density."""
    total = np.zeros_like(chest.x)
    for _ in range(int(rng.integers(3, 7))):
        centre = (SIDES[side] * rng.uniform(0.15, 0.55), rng.uniform(-0.45, 0.30))
        radius = rng.uniform(0.08, 0.17)
        blob = ellipse(chest.x, chest.y, centre, (radius, radius * rng.uniform(0.7, 1.4)))
        total += rng.uniform(0.5, 1.0) * step(blob, 0.8)
    ragged = np.clip(0.8 + 0.3 * clouds(rng, total.shape, 24), 0.2, 1.4)
    return strength * np.minimum(total, 1.3) * ragged * chest.lungs[side]


def interstitial(
    chest: Chest, view: View, rng: np.random.Generator, side: int, strength: float
) -> Field:
    """Draw interstitial markings: a net of fine lines and haze around the hilum."""
    near = ellipse(chest.x, chest.y, (SIDES[side] * 0.22, 0.0), (0.42, 0.52))
    lines: list[Stroke] = []
    for _ in range(60):
        start = np.array([SIDES[side] * rng.uniform(0.1, 0.6), rng.uniform(-0.5, 0.4)])
        heading = rng.uniform(0, math.pi)
        length = rng.uniform(0.05, 0.16)
        end = start + length * np.array([math.cos(heading), math.sin(heading)])
        lines.append((np.array([start, end]), 0.014, rng.uniform(0.4, 1.0)))
    net = blur(strokes(view, lines), 0.007 * view.shape[0])
    net = 0.8 * net + 0.2 * np.clip(clouds(rng, view.shape, 34), 0, 2)
    return strength * (net + 0.35) * step(near, 0.8) * chest.lungs[side]


def ground_glass(chest: Chest, rng: np.random.Generator, side: int, strength: float) -> Field:
    """Draw Covid-like ground glass: hazy patches along the chest wall, mostly low."""
    total = np.zeros_like(chest.x)
    for _ in range(int(rng.integers(2, 5))):
        centre = (SIDES[side] * rng.uniform(0.42, 0.62), rng.triangular(-0.45, 0.24, 0.34))
        radii = (rng.uniform(0.10, 0.19), rng.uniform(0.14, 0.28))
        shape = ellipse(chest.x, chest.y, centre, radii, SIDES[side] * rng.uniform(-0.5, 0.1))
        ragged = shape + 0.3 * clouds(rng, shape.shape, 11)
        total += rng.uniform(0.5, 1.0) * step(ragged, 1.0)
    grain = np.clip(0.9 + 0.12 * clouds(rng, total.shape, 40), 0.5, 1.3)
    return strength * np.minimum(total, 1.1) * grain * chest.lungs[side]


def nodules(chest: Chest, rng: np.random.Generator, side: int, strength: float) -> Field:
    """Draw one to three small, round opacities with a sharp edge."""
    total = np.zeros_like(chest.x)
    for _ in range(int(rng.integers(1, 4))):
        centre = (SIDES[side] * rng.uniform(0.2, 0.55), rng.uniform(-0.5, 0.25))
        radius = rng.uniform(0.035, 0.075)
        total += step(ellipse(chest.x, chest.y, centre, (radius, radius)), 0.35)
    return strength * np.minimum(total, 1) * chest.lungs[side]


def mass(chest: Chest, rng: np.random.Generator, side: int, strength: float) -> Field:
    """Draw one large, round, homogeneous opacity with a sharp edge."""
    centre = (SIDES[side] * rng.uniform(0.25, 0.5), rng.uniform(-0.4, 0.15))
    radii = (rng.uniform(0.10, 0.2), rng.uniform(0.10, 0.2))
    return strength * step(ellipse(chest.x, chest.y, centre, radii), 0.3) * chest.lungs[side]


def cavity(chest: Chest, rng: np.random.Generator, side: int, strength: float) -> Field:
    """Draw a cavity: a wall around air."""
    centre = (SIDES[side] * rng.uniform(0.25, 0.5), rng.uniform(-0.45, 0.15))
    radius = rng.uniform(0.08, 0.16)
    inside = ellipse(chest.x, chest.y, centre, (radius, radius * rng.uniform(0.8, 1.25)))
    wall = np.exp(-np.square((inside - 0.15) / 0.3))
    return np.asarray(strength * wall * chest.lungs[side])


def seeds(chest: Chest, view: View, rng: np.random.Generator, side: int, strength: float) -> Field:
    """Draw miliary seeds: a hundred dots all over one lung."""
    lines: list[Stroke] = []
    for _ in range(100):
        at = np.array([SIDES[side] * rng.uniform(0.1, 0.65), rng.uniform(-0.65, 0.4)])
        lines.append((np.array([at, at + 0.012]), 0.026, rng.uniform(0.5, 1.0)))
    return strength * strokes(view, lines) * chest.lungs[side]


def bands(chest: Chest, view: View, rng: np.random.Generator, side: int, strength: float) -> Field:
    """Draw plate-like atelectasis: one or two long, nearly horizontal lines."""
    lines: list[Stroke] = []
    for _ in range(int(rng.integers(1, 3))):
        middle = np.array([SIDES[side] * rng.uniform(0.25, 0.45), rng.uniform(-0.2, 0.28)])
        heading, half = rng.normal(0, 0.35), rng.uniform(0.10, 0.2)
        reach = half * np.array([math.cos(heading), math.sin(heading)])
        lines.append((np.array([middle - reach, middle + reach]), rng.uniform(0.022, 0.04), 1.0))
    return strength * strokes(view, lines) * chest.lungs[side]


def effusion(chest: Chest, rng: np.random.Generator, side: int, strength: float) -> Field:
    """Draw fluid at the base, with a level that rises towards the chest wall."""
    lateral = SIDES[side] * chest.x
    level = rng.uniform(0.12, 0.36) - 0.9 * np.clip(lateral - 0.35, 0, 1)
    return strength * step(chest.y - level, 0.07) * chest.lungs[side]


def free_air(chest: Chest, rng: np.random.Generator, side: int, strength: float) -> Field:
    """Draw a pneumothorax: a dark rim without markings, and the fine line of the lung's edge."""
    shift = rng.uniform(0.06, 0.16)
    lateral = SIDES[side] * chest.x + 0.25 * np.clip(-0.2 - chest.y, 0, 1)
    edge = 0.64 - shift - lateral - 0.5 * np.square(np.clip(-0.1 - chest.y, 0, 1))
    line = np.exp(-np.square(edge / 0.014))
    return strength * (0.7 * line - 0.5 * step(-edge, 0.03)) * np.sqrt(chest.lungs[side])


def thickened_hilum(chest: Chest, rng: np.random.Generator, side: int, strength: float) -> Field:
    """Draw a prominent hilum: a lumpy shadow beside the heart, in the healthy and the ill."""
    centre = (SIDES[side] * rng.uniform(0.17, 0.22), rng.uniform(-0.14, 0.02))
    shape = ellipse(chest.x, chest.y, centre, (0.09, rng.uniform(0.10, 0.17)))
    lumpy = shape + 0.3 * clouds(rng, shape.shape, 18)
    return strength * step(lumpy, 0.7) * chest.lungs[side]
