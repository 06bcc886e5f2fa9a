"""Local contrast, made even: CLAHE by OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

TILES = (8, 8)


def equalize(image: npt.NDArray[np.uint8], clip_limit: float) -> npt.NDArray[np.uint8]:
    """Contrast-limited adaptive histogram equalization (Zuiderveld, Graphics Gems IV, 1994).

    A grey image ``[S, S, 1]`` is equalized as it is; of an RGB image ``[S, S, 3]`` the lightness
    (L of CIELAB), so that its colours stay. The image is cut into 8 by 8 tiles; ``clip_limit``
    is how many times the mean count a bin of a tile's histogram may hold. OpenCV rounds that down
    to whole pixels, 1 at the least: in small images neighbouring limits do the same.
    """
    clahe = cv2.createCLAHE(clipLimit=clip_limit, tileGridSize=TILES)
    if image.shape[2] == 1:
        return np.asarray(clahe.apply(image[:, :, 0]), np.uint8)[:, :, None]
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[:, :, 0] = clahe.apply(lab[:, :, 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)
