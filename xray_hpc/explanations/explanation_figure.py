"""Draw an explained image: the X-ray beside itself under its heatmap, as a small PNG file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image

from xray_hpc.records.atomic_files import atomic_write

SIDE = 224
"""Side in pixels of each of the two squares."""
GAP = 4  # pixels between them
COLOURS = "inferno"  # even steps of brightness: readable in grey and by the colour-blind
OPACITY = 0.65  # of the heatmap where it is 1; where it is 0 the X-ray shows as it is
TINTS = 256  # of the file's palette, which thirds its size


def draw_explanation(
    image: npt.NDArray[np.uint8], heatmap: npt.NDArray[Any], side: int = SIDE
) -> Image.Image:
    """Return the X-ray and, to the right of it, the X-ray under the heatmap.

    Args:
        image: ``[S, S, C]``, grey or RGB.
        heatmap: ``[S, S]`` in 0..1.
        side: the size of each of the two squares in pixels.
    """
    plain = np.broadcast_to(_resized(image, side).reshape(side, side, -1), (side, side, 3))
    heat = np.clip(_resized(heatmap.astype(np.float32), side), 0, 1)[..., None]
    # The darkest colours of the map would hide the X-ray instead of marking it.
    tint = 255 * matplotlib.colormaps[COLOURS](0.25 + 0.75 * heat[..., 0])[..., :3]
    marked = plain * (1 - OPACITY * heat) + tint * (OPACITY * heat)
    gap = np.full((side, GAP, 3), 255)
    pixels = np.hstack([plain, gap, marked]).round().astype(np.uint8)
    return Image.fromarray(pixels).quantize(TINTS, dither=Image.Dither.NONE)


def write_explanation(
    path: Path, image: npt.NDArray[np.uint8], heatmap: npt.NDArray[Any], side: int = SIDE
) -> None:
    """Write :func:`draw_explanation` to ``path``; the same arguments give the same bytes.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        draw_explanation(image, heatmap, side).save(temporary)


def _resized(pixels: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    method = cv2.INTER_AREA if pixels.shape[0] > side else cv2.INTER_LINEAR
    return cv2.resize(pixels, (side, side), interpolation=method)
