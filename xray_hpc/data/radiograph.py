"""Draw a frontal chest radiograph: the body, the way it was taken, and the film.

The drawing adds up what the beam meets on its way, roughly as an X-ray does: soft tissue, less
the air of the lungs, plus bones, heart and vessels. The film turns that sum into grey values.
Nothing here is taken from a real image.

Coordinates are the patient's: ``x`` runs from the patient's right (left on the film) to the left,
``y`` from head to foot, both about -1 to 1; attenuation is in units of the trunk's soft tissue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

Field = NDArray[np.float32]
SIDES = (-1, 1)
Stroke = tuple[NDArray[np.float64], float, float]
_LETTERS = {
    "R": [[(0, 1), (0, 0), (0.6, 0.05), (0.6, 0.45), (0, 0.5), (0.65, 1)]],
    "L": [[(0, 0), (0, 1), (0.6, 1)]],
}


@dataclass(frozen=True)
class Body:
    """A patient's anatomy. Lengths are in patient coordinates, the rest are factors near 1."""

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
class View:
    """How one image was taken: pose, breath, exposure and what lies on the plate."""

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


@dataclass(frozen=True)
class Chest:
    """What the beam meets, pixel by pixel (all fields are height x width).

    ``lungs`` holds the air of the right and the left lung, 0 to 1.
    """

    x: Field
    y: Field
    attenuation: Field
    lungs: tuple[Field, Field]


def draw_body(rng: np.random.Generator) -> Body:
    """Draw a patient."""

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


def draw_view(rng: np.random.Generator, shape: tuple[int, int]) -> View:
    """Draw the taking of one image of ``shape`` (height, width) in pixels."""
    return View(
        shape=shape,
        angle=math.radians(float(np.clip(rng.normal(0, 3), -8, 8))),
        scale=float(rng.uniform(1.02, 1.3)),
        shift=(float(rng.normal(0, 0.04)), float(rng.normal(0.13, 0.05))),
        turn=float(np.clip(rng.normal(0, 0.04), -0.09, 0.09)),
        breath=float(np.clip(rng.normal(0, 0.05), -0.13, 0.07)),
        level=float(rng.normal(0.86, 0.08)),
        contrast=float(rng.uniform(0.85, 1.2)),
        grain=float(rng.uniform(0.012, 0.035)),
        blur=float(rng.uniform(0.45, 0.9)),
        shading=(float(rng.normal(0, 0.05)), float(rng.normal(0, 0.05))),
        cables=int(rng.choice([0, 0, 0, 0, 0, 1, 1, 2])),
        seed=int(rng.integers(2**32)),
    )


def clouds(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> Field:
    """Smooth noise of unit variance: ``cells`` random knots along each side, interpolated."""
    knots = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
    field = np.asarray(knots.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))
    return np.asarray(field / (field.std() + 1e-6), np.float32)


def step(field: Field, softness: float) -> Field:
    """0 below zero, 1 above it, with a soft edge about ``softness`` wide."""
    clipped = np.clip(field / (2 * softness) + 0.5, 0, 1)
    return np.asarray(clipped * clipped * (3 - 2 * clipped), np.float32)


def ellipse(
    chest_x: Field,
    chest_y: Field,
    centre: tuple[float, float],
    radii: tuple[float, float],
    angle: float = 0.0,
) -> Field:
    """1 at the centre, 0 on the outline, negative outside."""
    dx, dy = chest_x - centre[0], chest_y - centre[1]
    along = (dx * math.cos(angle) + dy * math.sin(angle)) / radii[0]
    across = (dy * math.cos(angle) - dx * math.sin(angle)) / radii[1]
    return np.asarray(1 - along * along - across * across, np.float32)


def draw_chest(body: Body, view: View) -> Chest:
    """Add up what the beam meets in ``body`` taken as ``view``."""
    x, y = _patient_coordinates(view)
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


def expose(attenuation: Field, view: View) -> NDArray[np.uint8]:
    """Make the film: unsharpness, scatter, grain, exposure, collimation, marker. (h, w) uint8."""
    rng = np.random.default_rng(view.seed)
    height, width = view.shape
    image = ndimage.gaussian_filter(attenuation, view.blur * height / 128)
    image = 0.9 * image + 0.1 * ndimage.uniform_filter(image, height // 4)
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    image += view.shading[0] * rows + view.shading[1] * columns
    grain = rng.normal(size=view.shape).astype(np.float32)
    grain = 0.6 * grain + ndimage.uniform_filter(grain, 2)
    image += view.grain * grain * (0.6 + np.clip(image, 0, 2))
    # A film's characteristic curve: straight in the middle, a toe and a shoulder at the ends.
    grey = 1 / (1 + np.exp(-(image - view.level) * 3.3 * view.contrast))
    grey = np.clip((grey - 0.055) / 0.87, 0, 1)
    grey = _plate(grey.astype(np.float32), view, rng)
    return np.asarray(np.clip(grey * 255 + 0.5, 0, 255), np.uint8)


def strokes(view: View, lines: list[Stroke], *, on_plate: bool = False) -> Field:
    """Draw lines of (points, width, strength): points (n, 2), strength 0 to 1, not adding up.

    Points and widths are in patient coordinates, or in pixels for what lies ``on_plate``. Lines
    are drawn three times as large and averaged.
    """
    height, width = view.shape
    image = Image.new("L", (3 * width, 3 * height))
    draw = ImageDraw.Draw(image)
    points = np.concatenate([line[0] for line in lines])
    at = np.round(3 * (points if on_plate else _pixels(view, points))).astype(int)
    unit = 1.0 if on_plate else view.scale * height / 2
    start = 0
    for line, thickness, strength in lines:
        path = at[start : start + len(line)].ravel().tolist()
        start += len(line)
        draw.line(path, fill=int(255 * strength), width=max(1, round(3 * thickness * unit)))
    return np.asarray(image.reduce(3), np.float32) / 255


def _patient_coordinates(view: View) -> tuple[Field, Field]:
    height, width = view.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    gx = (2 * columns + 1 - width) / height - view.shift[0]
    gy = (2 * rows + 1) / height - 1 - view.shift[1]
    cos, sin = math.cos(view.angle) / view.scale, math.sin(view.angle) / view.scale
    return gx * cos + gy * sin, gy * cos - gx * sin


def _pixels(view: View, points: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = view.shape
    cos, sin = math.cos(view.angle) * view.scale, math.sin(view.angle) * view.scale
    gx = points[:, 0] * cos - points[:, 1] * sin + view.shift[0]
    gy = points[:, 1] * cos + points[:, 0] * sin + view.shift[1]
    return np.stack([(gx * height + width) / 2, (gy + 1) * height / 2], axis=1)


def _cage(body: Body, y: Field) -> Field:
    """Half the width of the rib cage at the height ``y``: a bell."""
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
    """Heart and mediastinum, 0 to 1: a border on the left, one on the right, smooth in ``y``."""
    size, low = body.heart, body.dome + view.breath - 0.10
    left = 0.095 + 0.035 * _bump(y, -0.30, 0.09)
    left += 0.33 * size / (1 + np.exp(-(y - low + 0.19) / 0.085))
    left *= np.sqrt(np.clip(1.05 - np.clip(y - low + 0.05, 0, 1) * 2.6, 0, 1))
    right = 0.085 + 0.10 * size * _bump(y, low - 0.06, 0.19) + 0.02 * step(-0.5 - y, 0.2)
    right += 0.11 * body.thymus * step(y + 0.42, 0.16) * step(-0.19 - y, 0.05)
    middle = x - view.turn * (0.6 + 0.8 * step(y, 0.3))
    return step(left - middle, 0.035) * step(right + middle, 0.035)


def _bump(y: Field, centre: float, width: float) -> Field:
    return np.asarray(np.exp(-(((y - centre) / width) ** 2)), np.float32)


def _soft_tissue(body: Body, x: Field, y: Field) -> Field:
    neck = 0.17 + 0.03 * body.thickness
    half = neck + (body.torso - neck) / (1 + np.exp(-(y + 0.80) / 0.055))
    half = half - 0.05 * np.clip(y - 0.2, 0, 1)
    round_part = np.sqrt(np.clip(1 - (x / half) ** 2, 0, 1))
    tissue = 0.97 * body.thickness * np.sqrt(round_part * np.sqrt(round_part))
    reach = _capsule(np.abs(x), y, *_arm(body))
    tissue = np.maximum(tissue, 0.66 * np.sqrt(np.clip(1 - (reach / 0.20) ** 2, 0, 1)))
    if body.chin:
        jaw = ellipse(x, y, (0.1 * body.scoliosis, -1.12), (0.36, 0.22 * body.chin + 0.1))
        tissue = tissue + 0.35 * step(jaw, 0.15)
    return np.asarray(tissue, np.float32)


def _arm(body: Body) -> tuple[tuple[float, float], tuple[float, float]]:
    """Shoulder and elbow on the left; the right arm mirrors it."""
    return (0.80, -0.58), (0.98, -1.3) if body.arms_up else (1.04, 0.6)


def _capsule(x: Field, y: Field, start: tuple[float, float], end: tuple[float, float]) -> Field:
    """Distance to the line from ``start`` to ``end``."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy)
    along = np.clip(along, 0, 1)
    off_x, off_y = x - start[0] - along * dx, y - start[1] - along * dy
    return np.asarray(np.sqrt(off_x * off_x + off_y * off_y), np.float32)


def _bones(body: Body, x: Field, y: Field, cage: Field) -> Field:
    lateral = np.abs(x)
    share = np.clip(lateral / (cage * 1.03), 0, 1)
    arc = np.sqrt(1 - share * share)
    steep = np.clip(share / (cage * (arc + 0.12)), 0, 6)
    # Every rib is a ring seen from the side: the back half arches above its centre, the front
    # half below. Rings repeat down the chest, so that one phase draws them all.
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
    bones += (
        0.24 * step(0.026 - np.abs(y - clavicle), 0.008) * step(0.32 - np.abs(lateral - 0.42), 0.04)
    )
    blade = ellipse(lateral, y, (0.78, -0.36), (0.13, 0.30), 0.25)
    bones += 0.10 * step(blade, 0.15) + 0.06 * np.exp(-((blade / 0.2) ** 2))
    humerus = _capsule(lateral, y, *_arm(body))
    bones += 0.22 * step(0.055 - humerus, 0.012)
    bones += 0.16 * step(ellipse(lateral, y, (0.80, -0.60), (0.10, 0.10)), 0.15)
    return np.asarray(bones, np.float32)


def _ring(phase: Field, steep: Field, body: Body, half: float) -> Field:
    """Bands where ``phase`` is a multiple of the rib spacing, brighter along their rims."""
    place = phase / body.rib_spacing
    off = np.abs(place - np.round(place)) * body.rib_spacing
    half_height = half * np.sqrt(1 + steep * steep)
    rim = np.exp(-(((off - 0.8 * half_height) / (0.35 * half_height)) ** 2))
    shown = step(6.4 - np.abs(place + 1.0), 0.6)
    return (0.75 * step(half_height - off, 0.010) + 0.35 * rim) * shown


def _vessels(body: Body, view: View) -> Field:
    """Branches that fan out from each hilum, thinner with every fork."""
    rng = np.random.default_rng(body.vessel_seed)
    fan = np.concatenate([np.linspace(-1.2, 1.5, 8)] * 2) + rng.normal(0, 0.14, 16)
    side = np.repeat([-1.0, 1.0], 8)
    start = np.stack([0.15 * side + view.turn, -0.05 + 0.06 * fan], axis=1)
    lines: list[Stroke] = []
    thickness, length = 0.040, 0.19
    for _ in range(4):
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
    """Windpipe, main bronchi and the stomach's bubble."""
    pipe = step(0.040 - np.abs(x - 0.5 * view.turn), 0.012) * step(-0.22 - y, 0.03)
    bronchi = np.minimum(
        _capsule(x, y, (0.5 * view.turn, -0.22), (-0.17 + view.turn, -0.08)),
        _capsule(x, y, (0.5 * view.turn, -0.22), (0.19 + view.turn, -0.06)),
    )
    air = 0.17 * np.maximum(pipe, 0.7 * step(0.026 - bronchi, 0.012)) * inside
    if body.stomach:
        bubble = ellipse(
            x, y, (0.36, body.dome + view.breath + 0.22), (0.16 * body.stomach, 0.09), 0.2
        )
        air += 0.38 * body.stomach * step(bubble, 0.3)
    return np.asarray(air, np.float32)


def _skin(body: Body, x: Field, y: Field) -> Field:
    """Breasts and nipples: soft shadows over both lung bases that mean nothing."""
    shadow = np.zeros_like(x)
    if body.breasts:
        shadow += 0.14 * body.breasts * step(ellipse(np.abs(x), y, (0.42, 0.22), (0.3, 0.26)), 0.3)
    if body.nipples:
        shadow += (
            0.10 * body.nipples * step(ellipse(np.abs(x), y, (0.40, 0.12), (0.045, 0.045)), 0.4)
        )
    return shadow


def _plate(grey: Field, view: View, rng: np.random.Generator) -> Field:
    """Cables, the collimator's edges and a letter of lead."""
    height, width = view.shape
    for _ in range(view.cables):
        t = np.linspace(0, 1, 16)
        start = rng.uniform(-0.5, 0.4, 2)
        end = np.array([rng.choice([-1.3, 1.3]), rng.uniform(-1, 1)])
        path = start + t[:, None] * (end - start)
        path[:, 1] += rng.normal(0, 0.2) * np.sin(math.pi * t)
        ring = start + 0.03 * np.stack([np.cos(2 * math.pi * t), np.sin(2 * math.pi * t)], 1)
        wire = strokes(view, [(path, 0.016, 0.5), (ring, 0.03, 0.75)])
        grey = grey + (0.97 - grey) * wire
    if rng.random() < 0.8:
        letter = "R" if rng.random() < 0.7 else "L"
        size = rng.uniform(0.055, 0.085) * height
        left = rng.uniform(0.04, 0.12) * width
        corner = np.array([left if letter == "R" else width - left - size, 0.0])
        corner[1] = rng.uniform(0.04, 0.2) * height
        lines = [(np.array(line) * size + corner, 0.16 * size, 1.0) for line in _LETTERS[letter]]
        lead = strokes(view, lines, on_plate=True)
        grey = grey + (1.0 - grey) * lead
    if rng.random() < 0.55:
        margins = rng.uniform(-0.03, 0.06, 4)
        lean = rng.normal(0, 0.012)
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        v, u = rows / height, columns / width
        gap = np.minimum(
            np.minimum(u - margins[0] - lean * v, 1 - margins[1] - u + lean * v),
            np.minimum(v - margins[2] + lean * u, 1 - margins[3] - v - lean * u),
        )
        grey = 0.02 + (grey - 0.02) * step(gap, 0.006)
    return grey
