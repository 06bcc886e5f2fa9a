"""Draw radiographs at the size of real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from xray_hpc.synthetic import demo_dataset

HEIGHT = 1024  # pixels
IMAGES = 320
NOISE = 3.0  # standard deviation, grey levels


def draw(folder: Path) -> None:
    """Draw ``IMAGES`` JPEG files, ``HEIGHT`` pixels high, in the layout of the demo data.

    The demo images are enlarged, and noise makes their files as large as those of real images.
    """
    for path, patient, image in demo_dataset.plan(IMAGES, seed=0, classes=2):
        drawn = Image.fromarray(demo_dataset.draw_image(patient, image, 0))
        size = (round(drawn.width * HEIGHT / drawn.height), HEIGHT)
        enlarged = np.asarray(drawn.resize(size, Image.Resampling.BICUBIC), np.float32)
        noisy = enlarged + _noise(patient.rng(0, image), enlarged.shape)
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.clip(noisy, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(target, format="JPEG", quality=88)


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return NOISE * rng.standard_normal(shape, np.float32)


def describe(root: Path) -> str:
    """Return the number of images below ``root``, their median height and mean file size."""
    paths = sorted(path for path in root.rglob("*") if path.suffix in (".jpeg", ".jpg", ".png"))
    heights = []
    for path in paths[:: max(1, len(paths) // 100)]:
        with Image.open(path) as image:
            heights.append(image.height)
    size = sum(path.stat().st_size for path in paths) / len(paths) / 1000
    return f"{len(paths):,} files, {np.median(heights):.0f} px high, {size:.0f} kB on average"
