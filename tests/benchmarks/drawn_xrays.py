"""Drawn radiographs saved at the size of real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from xray_hpc.synthetic import demo_dataset

HEIGHT = 1024
IMAGES = 320
GRAIN = 3.0


def draw(folder: Path) -> None:
    """Draw ``IMAGES`` JPEG files, ``HEIGHT`` pixels high, in the layout of the demo set.

    The demo's drawings are enlarged, and given the grain that makes a film's file as large.
    """
    for path, patient, image in demo_dataset.plan(IMAGES, seed=0, classes=2):
        drawn = Image.fromarray(demo_dataset.draw_image(patient, image, 0))
        size = (round(drawn.width * HEIGHT / drawn.height), HEIGHT)
        film = np.asarray(drawn.resize(size, Image.Resampling.BICUBIC), np.float32)
        film = film + _grain(patient.rng(0, image), film.shape)
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.clip(film, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(target, format="JPEG", quality=88)


def _grain(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return GRAIN * rng.standard_normal(shape, np.float32)


def describe(root: Path) -> str:
    """How many images there are below ``root``, their median height, and the files' mean size."""
    paths = sorted(path for path in root.rglob("*") if path.suffix in (".jpeg", ".jpg", ".png"))
    heights = []
    for path in paths[:: max(1, len(paths) // 100)]:
        with Image.open(path) as image:
            heights.append(image.height)
    size = sum(path.stat().st_size for path in paths) / len(paths) / 1000
    return f"{len(paths):,} files, {np.median(heights):.0f} px high, {size:.0f} kB on average"
