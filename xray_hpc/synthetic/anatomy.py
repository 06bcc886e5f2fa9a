"""The anatomy of a synthetic chest, and its attenuation of the X-ray beam.

The attenuation is a sum: soft tissue, minus the air in the lungs, plus bones, heart and vessels.
Its unit is the attenuation of the torso's soft tissue. Nothing is taken from a real image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from xray_hpc.synthetic.shapes import (
    Field,
    Stroke,
    View,
    bump,
    capsule,
    ellipse,
    patient_coordinates,
    step,
    strokes,
)

SIDES = (-1, 1)


@dataclass(frozen=True)
class Body:
    """A patient's anatomy: lengths in patient coordinates, other values as factors near 1."""

    torso: float
    thickness: float
    cage: float
    apex: float
    dome: float
    dome_difference: float
    heart: float
    thymus: float
    rib_spacing: float
    rib_strength: float
    scoliosis: float
    arms_up: bool
    chin: float
    breasts: float
    nipples: float
    stomach: float
    vessels: float
    vessel_seed: int


@dataclass(frozen=True)
class Chest:
    """The attenuation of a chest, and the air (0 to 1) in its right and left lung, per pixel."""

    x: Field
    y: Field
    attenuation: Field
    lungs: tuple[Field, Field]


def draw_body(rng: np.random.Generator) -> Body:
    """Draw the anatomy of a random patient."""

    def near(centre: float, spread: float) -> float:
        return centre + spread * float(np.clip(rng.normal(), -2, 2))

    def sometimes(chance: float) -> float:
        drawn = rng.uniform(0.4, 1.0)
        return float(drawn) if rng.random() < chance else 0.0

    return Body(
        torso=near(0.84, 0.03),
        thickness=near(1.0, 0.05),
        cage=near(0.70, 0.025),
        apex=near(-0.74, 0.03),
        dome=near(0.36, 0.05),
        dome_difference=near(0.05, 0.02),
        heart=near(1.0, 0.09),
        thymus=sometimes(0.3),
        rib_spacing=near(0.148, 0.008),
        rib_strength=near(0.215, 0.03),
        scoliosis=near(0.0, 0.02),
        arms_up=bool(rng.random() < 0.65),
        chin=sometimes(0.3),
        breasts=sometimes(0.15),
        nipples=sometimes(0.2),
        stomach=sometimes(0.6),
        vessels=near(1.0, 0.2),
        vessel_seed=int(rng.integers(2**32)),
    )


def draw_chest(body: Body, view: View) -> Chest:
    """Return the attenuation of ``body`` in the projection ``view``."""
    x, y = patient_coordinates(view)
    x = x - body.scoliosis * np.sin(3 * y)
    cage = _cage(body, y)
    heart = _heart(body, view, x, y)
    lungs = tuple(_lung(body, view, side, x, y, cage) * (1 - 0.88 * heart) for side in SIDES)
    air = lungs[0] + lungs[1]
    total = _soft_tissue(body, x, y)
    inside = np.clip(total / (0.5 * body.thickness), 0, 1)
    total -= 0.74 * body.thickness * air
    total += 0.08 * heart + 0.05 * step(y - body.dome - 0.05, 0.1) * inside
    total += _vessels(body, view) * np.sqrt(air + 0.04)
    total += _bones(body, x, y, cage) * inside
    total -= _other_air(body, view, x, y, inside)
    total += _skin(body, x, y)
    return Chest(x, y, np.asarray(total, np.float32), (lungs[0], lungs[1]))


def _cage(body: Body, y: Field) -> Field:
    """Return half the width of the rib cage at height ``y``: a bell shape."""
    up = np.clip((0.35 - y) / (0.35 - body.apex), 0, 1)
    return np.asarray(body.cage * np.sqrt(1 - up * up * np.sqrt(up)) + 1e-3, np.float32)


def _lung(body: Body, view: View, side: int, x: Field, y: Field, cage: Field) -> Field:
    lateral = side * (x - view.turn * 0.5)
    dome = body.dome + view.breath + side * body.dome_difference / 2
    base = dome + 1.5 * (lateral - 0.3) ** 2

    def bulge(depth: Field, over: float) -> Field:
        part = np.clip(depth / over, 0, 1)
        return np.asarray(np.sqrt(part * (2 - part)), np.float32)

    air = bulge(cage * 0.97 - lateral, 0.26) * bulge(lateral - 0.07, 0.16)
    return air * bulge(base - y, 0.10) * (0.82 + 0.18 * step(y - body.apex - 0.25, 0.25))


def _heart(body: Body, view: View, x: Field, y: Field) -> Field:
    """Return heart and mediastinum, 0 to 1, between a left and a right border smooth in ``y``."""
    size, low = body.heart, body.dome + view.breath - 0.10
    left = 0.095 + 0.035 * bump(y, -0.30, 0.09)
    left += 0.33 * size / (1 + np.exp(-(y - low + 0.19) / 0.085))
    left *= np.sqrt(np.clip(1.05 - np.clip(y - low + 0.05, 0, 1) * 2.6, 0, 1))
    right = 0.085 + 0.10 * size * bump(y, low - 0.06, 0.19) + 0.02 * step(-0.5 - y, 0.2)
    right += 0.11 * body.thymus * step(y + 0.42, 0.16) * step(-0.19 - y, 0.05)
    middle = x - view.turn * (0.6 + 0.8 * step(y, 0.3))
    return step(left - middle, 0.035) * step(right + middle, 0.035)


def _soft_tissue(body: Body, x: Field, y: Field) -> Field:
    neck = 0.17 + 0.03 * body.thickness
    half = neck + (body.torso - neck) / (1 + np.exp(-(y + 0.80) / 0.055))
    half = half - 0.05 * np.clip(y - 0.2, 0, 1)
    round_part = np.sqrt(np.clip(1 - (x / half) ** 2, 0, 1))
    tissue = 0.97 * body.thickness * np.sqrt(round_part * np.sqrt(round_part))
    reach = capsule(np.abs(x), y, *_arm(body))
    tissue = np.maximum(tissue, 0.66 * np.sqrt(np.clip(1 - (reach / 0.20) ** 2, 0, 1)))
    if body.chin:
        jaw = ellipse(x, y, (0.1 * body.scoliosis, -1.12), (0.36, 0.22 * body.chin + 0.1))
        tissue = tissue + 0.35 * step(jaw, 0.15)
    return np.asarray(tissue, np.float32)


def _arm(body: Body) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return shoulder and elbow of the left arm; the right arm mirrors it."""
    return (0.80, -0.58), (0.98, -1.3) if body.arms_up else (1.04, 0.6)


def _bones(body: Body, x: Field, y: Field, cage: Field) -> Field:
    lateral = np.abs(x)
    share = np.clip(lateral / (cage * 1.03), 0, 1)
    arc = np.sqrt(1 - share * share)
    steep = np.clip(share / (cage * (arc + 0.12)), 0, 6)
    # A rib is a ring seen from the side: its back half arches above the centre, its front half
    # below. The rings repeat down the chest, so one phase draws all of them.
    back = _ring(y + 0.20 * arc, 0.20 * steep, body, 0.021) * step(lateral - 0.06, 0.03)
    front = _ring(y - 0.34 * arc, 0.34 * steep, body, 0.019) * step(lateral - 0.30, 0.12)
    within = step(cage * 1.03 - lateral, 0.02) * step(y - body.apex, 0.03)
    bones = body.rib_strength * within * (back + 0.6 * front)

    vertebra = np.cos(2 * math.pi * y / 0.135)
    column = np.clip(1 - np.square((x / 0.078) ** 2), 0, 1)
    bones += column * (0.16 + 0.07 * vertebra)
    pedicles = ellipse(np.abs(x), np.mod(y, 0.135), (0.045, 0.067), (0.020, 0.028))
    bones += 0.10 * step(pedicles, 0.4)

    clavicle = -0.60 - 0.22 * (lateral - 0.08) + 0.045 * np.sin(7 * lateral)
    line = 0.24 * step(0.026 - np.abs(y - clavicle), 0.008)
    bones += line * step(0.32 - np.abs(lateral - 0.42), 0.04)
    blade = ellipse(lateral, y, (0.78, -0.36), (0.13, 0.30), 0.25)
    bones += 0.10 * step(blade, 0.15) + 0.06 * np.exp(-((blade / 0.2) ** 2))
    humerus = capsule(lateral, y, *_arm(body))
    bones += 0.22 * step(0.055 - humerus, 0.012)
    bones += 0.16 * step(ellipse(lateral, y, (0.80, -0.60), (0.10, 0.10)), 0.15)
    return np.asarray(bones, np.float32)


def _ring(phase: Field, steep: Field, body: Body, half: float) -> Field:
    """Return bands where ``phase`` is a multiple of the rib spacing, brighter along the rims."""
    place = phase / body.rib_spacing
    off = np.abs(place - np.round(place)) * body.rib_spacing
    half_height = half * np.sqrt(1 + steep * steep)
    rim = np.exp(-(((off - 0.8 * half_height) / (0.35 * half_height)) ** 2))
    shown = step(6.4 - np.abs(place + 1.0), 0.6)
    return np.asarray((0.75 * step(half_height - off, 0.010) + 0.35 * rim) * shown)


def _vessels(body: Body, view: View) -> Field:
    """Draw vessels that branch out from each hilum and get thinner with every fork."""
    rng = np.random.default_rng(body.vessel_seed)
    fan = np.concatenate([np.linspace(-1.2, 1.5, 9)] * 2) + rng.normal(0, 0.14, 18)
    side = np.repeat([-1.0, 1.0], 9)
    start = np.stack([0.15 * side + view.turn, -0.05 + 0.06 * fan], axis=1)
    lines: list[Stroke] = []
    thickness, length = 0.038, 0.22
    for _ in range(3):
        reach = length * rng.uniform(0.7, 1.2, len(fan))
        bend = fan + rng.normal(0, 0.15, len(fan))
        middle = start + reach[:, None] / 2 * np.stack([side * np.cos(fan), np.sin(fan)], 1)
        tip = middle + reach[:, None] / 2 * np.stack([side * np.cos(bend), np.sin(bend)], 1)
        paths = np.stack([start, middle, tip], axis=1)
        lines += [(path, thickness, min(1.0, 25 * thickness)) for path in paths]
        forks = np.concatenate([bend - 0.30, bend + 0.30])
        fan = forks + rng.normal(0, 0.12, len(forks))
        side, start = np.tile(side, 2), np.tile(tip, (2, 1))
        thickness, length = thickness * 0.66, length * 0.82
    return 0.22 * body.vessels * strokes(view, lines[::-1])


def _other_air(body: Body, view: View, x: Field, y: Field, inside: Field) -> Field:
    """Draw the air in the trachea, the main bronchi and the stomach."""
    pipe = step(0.040 - np.abs(x - 0.5 * view.turn), 0.012) * step(-0.22 - y, 0.03)
    bronchi = np.minimum(
        capsule(x, y, (0.5 * view.turn, -0.22), (-0.17 + view.turn, -0.08)),
        capsule(x, y, (0.5 * view.turn, -0.22), (0.19 + view.turn, -0.06)),
    )
    air = 0.17 * np.maximum(pipe, 0.7 * step(0.026 - bronchi, 0.012)) * inside
    if body.stomach:
        centre = (0.36, body.dome + view.breath + 0.22)
        bubble = ellipse(x, y, centre, (0.16 * body.stomach, 0.09), 0.2)
        air += 0.38 * body.stomach * step(bubble, 0.3)
    return np.asarray(air, np.float32)


def _skin(body: Body, x: Field, y: Field) -> Field:
    """Draw breasts and nipples: soft shadows over both lung bases that are not a finding."""
    shadow = np.zeros_like(x)
    if body.breasts:
        shadow += 0.14 * body.breasts * step(ellipse(np.abs(x), y, (0.42, 0.22), (0.3, 0.26)), 0.3)
    if body.nipples:
        spot = ellipse(np.abs(x), y, (0.40, 0.12), (0.045, 0.045))
        shadow += 0.10 * body.nipples * step(spot, 0.4)
    return shadow
