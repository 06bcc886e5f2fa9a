"""Random parameters of the augmentation: order and transforms of the images of each epoch.

Every random value is a function of (seed, epoch, row), where row is the image's position in the
training split. Each operation has its own random stream: enabling one does not change the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from xray_hpc.config.run_config import AugmentConfig, AugmentSettings

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Balance = Literal["none", "class_weights", "sampling"]

# Random streams: the third part of a generator's seed, after seed and epoch.
ORDER, ZOOM_SHIFT, ROTATION, SHEAR, FLIP, TURN, CROP, BRIGHTNESS = range(8)


def epoch_order(labels: IntArray, balance: Balance, seed: int, epoch: int) -> IntArray:
    """Return the order of the rows in an epoch, ``[T]``, for labels ``[T]``.

    It is a permutation. With ``sampling``, every class occurs equally often (within one), and the
    rows of a class are a sequence of permutations of that class.
    """
    rng = np.random.default_rng([seed, epoch, ORDER])
    if balance != "sampling":
        return rng.permutation(len(labels))
    classes = rng.permutation(np.unique(labels))
    drawn = []
    for k, label in enumerate(classes):
        members = np.flatnonzero(labels == label)
        wanted = len(labels) // len(classes) + (k < len(labels) % len(classes))
        cycles = [rng.permutation(members) for _ in range(-(-wanted // len(members)))]
        drawn.append(np.concatenate(cycles)[:wanted])
    return rng.permutation(np.concatenate(drawn))


def augmentation_rows(order: IntArray) -> IntArray:
    """Return which row's random values each position of an epoch uses, ``[T]``.

    The first occurrence of an image uses its own. If balanced sampling repeats the image, the copy
    uses those of an image that is left out, so that no two copies are equal.
    """
    rows = order.copy()
    rows[_repetitions(order) > 0] = np.setdiff1d(np.arange(len(order)), order)
    return rows


def epoch_views(order: IntArray, views: int, epoch: int) -> IntArray:
    """Return which of ``views`` views of its image each position of an epoch shows, ``[T]``.

    This is ``epoch mod views``; a repetition by balanced sampling shows the next view.
    """
    return (epoch + _repetitions(order)) % views


def _repetitions(order: IntArray) -> IntArray:
    """Return how often each entry of ``order`` has occurred before."""
    by_row = np.argsort(order, kind="stable")
    _, first, counts = np.unique(order[by_row], return_index=True, return_counts=True)
    times = np.empty(len(order), np.int64)
    times[by_row] = np.arange(len(order)) - np.repeat(first, counts)
    return times


def sample_weights(labels: IntArray) -> FloatArray:
    """Return the weight of each image in the loss, ``T / (classes * images of its class)``.

    As scikit-learn's ``class_weight="balanced"`` (King and Zeng, 2001): all classes have the same
    total weight, and the mean weight is 1. Shape ``[T]`` for labels ``[T]``.
    """
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights = len(labels) / (len(counts) * counts)
    return weights[place].astype(np.float32)


@dataclass(frozen=True)
class GeometricParameters:
    """Random geometric parameters of N images.

    Attributes:
        rotation: ``[N]`` degrees.
        shift: ``[N, 2]`` pixels (x, y).
        shear: ``[N]`` degrees.
        zoom: ``[N, 2]`` factors (x, y); below 1 enlarges.
        corner: ``int [N, 2]``, the upper left corner (x, y) of the crop.
        quarter_turns: ``int [N]`` counterclockwise quarter turns, as in ``numpy.rot90``.
        flip: ``bool [N]``, whether left and right are exchanged.
    """

    rotation: Floats
    shift: Floats
    shear: Floats
    zoom: Floats
    corner: IntArray
    quarter_turns: IntArray
    flip: npt.NDArray[np.bool_]


def draw_geometry(
    images: int, image_size: int, input_size: int, augment: AugmentConfig, seed: int, epoch: int
) -> GeometricParameters:
    """Draw the geometric parameters of ``images`` images of ``image_size`` pixels.

    Without augmentation they describe the central crop of ``input_size`` pixels.
    """

    def generator(stream: int) -> np.random.Generator:
        return np.random.default_rng([seed, epoch, stream])

    def symmetric(stream: int, limit: float) -> Floats:
        return limit * generator(stream).uniform(-1, 1, images)

    zoom_shift = generator(ZOOM_SHIFT).uniform(-1, 1, (images, 4))  # of y, x each
    shifts = np.array([augment.width_shift, augment.height_shift]) * image_size
    spare = image_size - input_size
    corner = np.full((images, 2), spare // 2)
    if augment.crop:
        corner = generator(CROP).integers(spare + 1, size=(images, 2))
    return GeometricParameters(
        rotation=symmetric(ROTATION, augment.rotation),
        shift=zoom_shift[:, [3, 2]] * shifts,
        shear=symmetric(SHEAR, augment.shear),
        zoom=1 + zoom_shift[:, [1, 0]] * augment.zoom,
        corner=corner,
        quarter_turns=generator(TURN).integers(4, size=images) * augment.rot90,
        flip=(generator(FLIP).uniform(size=images) < 0.5) & augment.horizontal_flip,
    )


def affine_transforms(
    parameters: GeometricParameters, image_size: int, input_size: int
) -> FloatArray:
    """Combine the parameters of each image into one affine transform, ``[N, 8]``.

    It maps a pixel (x, y) of the result, a square of ``input_size`` pixels, to its
    position in the source: ``x' = a0 x + a1 y + a2``, ``y' = b0 x + b1 y + b2``, in TensorFlow's
    order ``(a0, a1, a2, b0, b1, b2, 0, 0)``.

    Rotation, shift, shear and zoom follow Keras's ``ImageDataGenerator``
    (``keras/src/legacy/preprocessing/image.py``), multiplied in its order about the centre:
    ``[[cos r, -sin r], [sin r, cos r]]``, the shift, ``[[1, -sin s], [0, cos s]]``, ``diag(zoom)``.
    The result is cropped, rotated by quarter turns, then flipped. These three use whole pixels:
    alone, they give the same bytes as slicing.
    """
    angle, slant = np.deg2rad(parameters.rotation), np.deg2rad(parameters.shear)
    rotation = _matrices(np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle))
    shear = _matrices(1, -np.sin(slant), 0, np.cos(slant))
    affine = rotation @ shear * parameters.zoom[:, None]
    turns = parameters.quarter_turns
    cos, sin = np.array([1, 0, -1, 0])[turns], np.array([0, 1, 0, -1])[turns]
    side = np.where(parameters.flip, -1, 1)
    matrix = affine @ _matrices(cos * side, -sin, sin * side, cos)
    source, result = np.full(2, (image_size - 1) / 2), np.full(2, (input_size - 1) / 2)
    cut = parameters.corner + result - source  # from the centre of the source to that of the crop
    offset = source + _times(affine, cut) - _times(rotation, parameters.shift) - matrix @ result
    rows = np.zeros((len(angle), 8), np.float32)
    rows[:, [0, 1, 3, 4]] = matrix.reshape(-1, 4)
    rows[:, [2, 5]] = offset
    return rows


def draw_augmentations(
    images: int, image_size: int, input_size: int, augment: AugmentConfig, seed: int, epoch: int
) -> tuple[FloatArray, FloatArray]:
    """Draw the transforms ``[images, 8]`` and brightness factors ``[images]`` of an epoch."""
    parameters = draw_geometry(images, image_size, input_size, augment, seed, epoch)
    draws = np.random.default_rng([seed, epoch, BRIGHTNESS]).uniform(-1, 1, images)
    brightness = (1 + augment.brightness * draws).astype(np.float32)
    return affine_transforms(parameters, image_size, input_size), brightness


def epoch_augmentations(
    order: IntArray, image_size: int, input_size: int, augment: AugmentConfig, seed: int, epoch: int
) -> tuple[FloatArray, FloatArray]:
    """Return transforms ``[T, 8]`` and brightness factors ``[T]`` of each position of an epoch."""

    def drawn(view: int, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        sizes = len(order), image_size, input_size
        transforms, brightness = draw_augmentations(*sizes, augment, seed, view)
        return transforms[rows], brightness[rows]

    if augment.views is None:
        return drawn(epoch, augmentation_rows(order))
    views = epoch_views(order, augment.views, epoch)
    transforms, brightness = np.empty((len(order), 8), np.float32), np.empty(len(order), np.float32)
    for view in np.unique(views):
        at = views == view
        transforms[at], brightness[at] = drawn(int(view), order[at])
    return transforms, brightness


def needs_interpolation(augment: AugmentSettings | AugmentConfig) -> bool:
    """Return whether ``augment`` reads pixels at fractional positions."""
    shifts = augment.height_shift, augment.width_shift
    return any((augment.rotation, augment.shear, augment.zoom, *shifts))


def changes_geometry(augment: AugmentConfig) -> bool:
    """Return whether ``augment`` does more than crop the centre and change the brightness."""
    return needs_interpolation(augment) or augment.horizontal_flip or augment.rot90 or augment.crop


def center_crop(images: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Crop the centre of each image: ``[N, S, S, C]`` to ``[N, size, size, C]``."""
    corner = (images.shape[1] - size) // 2
    return images[:, corner : corner + size, corner : corner + size]


def _matrices(*entries: npt.ArrayLike) -> Floats:
    """Build matrices ``[N, 2, 2]`` from four entries in row order, each ``[N]`` or a number."""
    return np.stack(np.broadcast_arrays(*entries), axis=-1).reshape(-1, 2, 2).astype(np.float64)


def _times(matrices: Floats, vectors: Floats) -> Floats:
    """Multiply each matrix ``[N, 2, 2]`` by its vector ``[N, 2]``."""
    return (matrices @ vectors[:, :, None])[:, :, 0]
