"""Application of the augmentation to images, with OpenCV.

Each image is warped once. The result does not depend on the other images or the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from xray_hpc.config.run_config import AugmentConfig
from xray_hpc.data.augmentation_parameters import (
    FloatArray,
    IntArray,
    center_crop,
    changes_geometry,
)

Pixels = npt.NDArray[np.uint8]

BORDERS = {
    "reflect": cv2.BORDER_REFLECT,
    "nearest": cv2.BORDER_REPLICATE,
    "constant": cv2.BORDER_CONSTANT,
    "wrap": cv2.BORDER_WRAP,
}

cv2.setNumThreads(1)  # batches are made in parallel, so threads per image only cost time


def apply_augmentation(
    images: Pixels | Sequence[Pixels],
    transforms: FloatArray,
    brightness: FloatArray,
    augment: AugmentConfig,
    size: int,
    result: Pixels | None = None,
) -> Pixels:
    """Warp images and scale their brightness, as far as ``augment`` enables it.

    Args:
        images: B images ``[S, S, C]`` with one or three channels.
        transforms: ``[B, 8]``, see ``augmentation.affine_transforms``.
        brightness: ``[B]`` factors.
        size: side of the result in pixels.
        result: array to write the result to.

    Returns:
        ``[B, size, size, C]``, rounded and clipped.
    """
    side, _, channels = images[0].shape
    if result is None:
        result = np.empty((len(images), size, size, channels), np.uint8)
    borders = border_widths(transforms, side, size)
    for image, transform, border, factor, output in zip(
        images, transforms, borders, brightness, result, strict=True
    ):
        if changes_geometry(augment):
            warped = _warp(image, transform, border, augment, size)
        else:
            warped = center_crop(image[None], size)[0]
        if augment.brightness:
            cv2.convertScaleAbs(warped, dst=output, alpha=float(factor))
        else:
            output[:] = warped.reshape(output.shape)  # OpenCV drops an axis of one channel
    return result


def border_widths(transforms: FloatArray, side: int, size: int) -> IntArray:
    """Return how far each transform reads beyond the image: ``[B, 4]`` top, bottom, left, right.

    The images have ``side`` pixels, the results ``size`` pixels.
    """
    last = size - 1
    corners = np.array([[0, 0, 1], [last, 0, 1], [0, last, 1], [last, last, 1]])
    read = transforms[:, :6].reshape(-1, 2, 3).astype(np.float64) @ corners.T
    before, after = -read.min(axis=2), read.max(axis=2) - (side - 1)
    beyond = np.stack([before[:, 1], after[:, 1], before[:, 0], after[:, 0]], axis=1)
    return np.asarray(np.ceil(np.maximum(beyond, 0)), np.int64)


def _warp(
    image: Pixels, transform: FloatArray, border: IntArray, augment: AugmentConfig, size: int
) -> npt.NDArray[Any]:
    """Warp one image by its transform; as floats if its brightness changes, to round only once."""
    padded: npt.NDArray[Any]
    top, bottom, left, right = border.tolist()
    # Padding first: OpenCV warps faster if it never reads beyond an edge.
    padded = cv2.copyMakeBorder(image, top, bottom, left, right, BORDERS[augment.fill_mode])
    if image.shape[2] == 3:
        # OpenCV 5 and later warp four channels faster than three.
        padded = cv2.cvtColor(padded, cv2.COLOR_RGB2RGBA)
    if augment.brightness:
        padded = padded.astype(np.float32)
    matrix = transform[:6].reshape(2, 3).astype(np.float64)
    matrix[:, 2] += left, top
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(padded, matrix, (size, size), flags=flags)
    return cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB) if image.shape[2] == 3 else warped
