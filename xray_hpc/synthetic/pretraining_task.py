"""The pretraining task of the demo backbone: locate findings in synthetic chest X-rays.

The images share the demo set's anatomy and film, but not its task, patients or random numbers. An
image shows up to three findings of eight kinds; none is a pneumonia as the demo set draws it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xray_hpc.synthetic import opacities
from xray_hpc.synthetic.anatomy import Chest, draw_body, draw_chest
from xray_hpc.synthetic.film import expose
from xray_hpc.synthetic.shapes import Field, View, draw_view

# Functions of ``opacities``.
KINDS = ("mass", "cavity", "seeds", "nodules", "bands", "effusion", "free_air", "thickened_hilum")
VISIBLE = 0.05  # attenuation (1 is the torso's soft tissue) above which a finding is visible
# Separates these random streams from the demo set's, whose seeds have a small number here.
STREAM = 7001


def draw(index: int, seed: int, size: int, cells: int) -> tuple[NDArray[np.uint8], Field]:
    """Draw image ``index`` of the stream ``seed``, and the map of its findings.

    Returns:
        The grey values ``[size, size]``, and the map ``[cells, cells, kinds]``, which is 1 where a
        finding of the kind is visible in the cell and 0 elsewhere.
    """
    rng = np.random.default_rng([seed, STREAM, index])
    body = draw_body(rng)
    view = draw_view(rng, (size, int(size * rng.uniform(0.9, 1.22))))
    chest = draw_chest(body, view)
    shadow = np.zeros_like(chest.x)
    shown = np.zeros((cells, cells, len(KINDS)), np.float32)
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.2, 0.35, 0.3, 0.15]))):
        kind = int(rng.integers(len(KINDS)))
        finding = _finding(KINDS[kind], chest, view, rng)
        shadow = shadow + finding
        shown[..., kind] = np.maximum(shown[..., kind], _cells(finding, cells))
    film = Image.fromarray(expose(chest.attenuation + shadow, view))
    film = film.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(film, np.uint8), shown


def _finding(kind: str, chest: Chest, view: View, rng: np.random.Generator) -> Field:
    side = int(rng.integers(2))
    strength = rng.uniform(0.12, 0.7) * (0.6 if kind == "thickened_hilum" else 1)
    view_first = (view,) if kind in ("seeds", "bands") else ()
    finding: Field = getattr(opacities, kind)(chest, *view_first, rng, side, strength)
    return finding


def _cells(finding: Field, cells: int) -> Field:
    """Return a map ``[cells, cells]``: 1 where the finding is visible, else 0."""
    height, width = finding.shape
    rows = np.linspace(0, height, cells + 1).astype(int)[:-1]
    columns = np.linspace(0, width, cells + 1).astype(int)[:-1]
    strongest = np.maximum.reduceat(np.abs(finding), rows, axis=0)
    strongest = np.maximum.reduceat(strongest, columns, axis=1)
    return (strongest > VISIBLE).astype(np.float32)
