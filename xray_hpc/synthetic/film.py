"""Exposure of the film: unsharpness, scatter, grain, characteristic curve, objects on the plate."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xray_hpc.synthetic.shapes import Field, View, blur, step, strokes

_LETTERS = {
    "R": np.array([(0, 1), (0, 0), (0.6, 0.05), (0.6, 0.45), (0, 0.5), (0.65, 1)]),
    "L": np.array([(0, 0), (0, 1), (0.6, 1)]),
}


def expose(attenuation: Field, view: View) -> NDArray[np.uint8]:
    """Return the film of an ``attenuation`` field, ``uint8 [height, width]``."""
    rng = np.random.default_rng(view.seed)
    height, width = view.shape
    image = blur(attenuation, view.blur * height / 128)
    image = 0.9 * image + 0.1 * _scatter(image)
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    image += view.shading[0] * rows + view.shading[1] * columns
    grain = rng.normal(size=view.shape).astype(np.float32)
    grain = 0.85 * grain + 0.4 * np.roll(grain, 1, axis=0) + 0.4 * np.roll(grain, 1, axis=1)
    image += view.grain * grain * (0.6 + np.clip(image, 0, 2))
    # The film's characteristic curve: linear in the middle, with a toe and a shoulder.
    grey = 1 / (1 + np.exp(-(image - view.level) * 3.3 * view.contrast))
    grey = np.clip((grey - 0.055) / 0.87, 0, 1)
    grey = _plate(grey.astype(np.float32), view, rng)
    return np.asarray(np.clip(grey * 255 + 0.5, 0, 255), np.uint8)


def _plate(grey: Field, view: View, rng: np.random.Generator) -> Field:
    """Add cables, a lead marker and the edges of the collimator."""
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
        lead = strokes(view, [(_LETTERS[letter] * size + corner, 0.16 * size, 1.0)], on_plate=True)
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


def _scatter(image: Field) -> Field:
    """Return the scattered radiation: the image blurred over a wide neighbourhood."""
    height, width = image.shape
    few = Image.fromarray(image.astype(np.float32)).resize((6, 6), Image.Resampling.BOX)
    return np.asarray(few.resize((width, height), Image.Resampling.BICUBIC))
