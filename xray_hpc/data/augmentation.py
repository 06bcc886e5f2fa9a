"""What happens to each training image in each epoch, drawn with NumPy alone.

Every draw is a function of (seed, epoch, row), where the row is that of the image among those that
train; nothing depends on batches or on where a training was taken up again. Each operation draws
from a stream of its own, so that switching one on or off leaves the others as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from xray_hpc.config.run_config import AugmentConfig

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# The third part of a generator's seed, beside seed and epoch.
ORDER, ZOOM_SHIFT, ROTATION, SHEAR, MIRROR, TURN, CROP, BRIGHTNESS = range(8)


def epoch_order(
    labels: IntArray, balance: Literal["none", "class_weights", "sampling"], seed: int, epoch: int
) -> IntArray:
    """The rows of an epoch in their order, shape ``[T]`` for labels ``[T]``.

    A permutation; with ``sampling`` each class as often as the others (give or take one), its
    rows in permutations of their own, one after another.
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
    """Which row's changes each position of an epoch gets, shape ``[T]``: each row's once.

    An image has its own where it comes first. Where balanced sampling shows it again, it gets
    those of an image that is left out, so that no two of its copies are the same.
    """
    rows = order.copy()
    rows[_times_before(order) > 0] = np.setdiff1d(np.arange(len(order)), order)
    return rows


def epoch_views(order: IntArray, views: int, epoch: int) -> IntArray:
    """Which of so many views of its image each position of an epoch shows, shape ``[T]``.

    ``epoch`` mod ``views``; where balanced sampling shows an image again, the view after that.
    """
    return (epoch + _times_before(order)) % views


def _times_before(order: IntArray) -> IntArray:
    """How often each entry of ``order`` has been there before."""
    by_row = np.argsort(order, kind="stable")
    _, first, counts = np.unique(order[by_row], return_index=True, return_counts=True)
    times = np.empty(len(order), np.int64)
    times[by_row] = np.arange(len(order)) - np.repeat(first, counts)
    return times


def sample_weights(labels: IntArray) -> FloatArray:
    """What each image weighs in the loss, shape ``[T]``: ``T / (classes x images of its class)``.

    scikit-learn's ``class_weight="balanced"`` (King and Zeng, 2001): every class weighs the same,
    and an image 1 on average.
    """
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights = len(labels) / (len(counts) * counts)
    return weights[place].astype(np.float32)


@dataclass(frozen=True)
class GeometricParameters:
    """What moves the pixels of N images.

    Attributes:
        rotation: ``[N]`` degrees.
        shift: ``[N, 2]`` pixels (x, y) by which the image moves.
        shear: ``[N]`` degrees.
        zoom: ``[N, 2]`` factors (x, y); one below 1 enlarges.
        corner: ``int [N, 2]`` where the upper left corner (x, y) of the square that is cut out is.
        turns: ``int [N]`` quarter turns, counterclockwise as those of ``numpy.rot90``.
        mirror: ``bool [N]``, whether left and right change places.
    """

    rotation: Floats
    shift: Floats
    shear: Floats
    zoom: Floats
    corner: IntArray
    turns: IntArray
    mirror: npt.NDArray[np.bool_]


def draw_geometry(
    images: int, image_size: int, input_size: int, augment: AugmentConfig, seed: int, epoch: int
) -> GeometricParameters:
    """What is drawn for each of so many images of ``image_size`` pixels.

    Where nothing is drawn, ``input_size`` pixels are cut out of the centre.
    """

    def generator(stream: int) -> np.random.Generator:
        return np.random.default_rng([seed, epoch, stream])

    def either_way(stream: int, most: float) -> Floats:
        return most * generator(stream).uniform(-1, 1, images)

    zoom_shift = generator(ZOOM_SHIFT).uniform(-1, 1, (images, 4))  # of y, x each
    shifts = np.array([augment.width_shift, augment.height_shift]) * image_size
    spare = image_size - input_size
    corner = np.full((images, 2), spare // 2)
    if augment.crop:
        corner = generator(CROP).integers(spare + 1, size=(images, 2))
    return GeometricParameters(
        rotation=either_way(ROTATION, augment.rotation),
        shift=zoom_shift[:, [3, 2]] * shifts,
        shear=either_way(SHEAR, augment.shear),
        zoom=1 + zoom_shift[:, [1, 0]] * augment.zoom,
        corner=corner,
        turns=generator(TURN).integers(4, size=images) * augment.rot90,
        mirror=(generator(MIRROR).uniform(size=images) < 0.5) & augment.horizontal_flip,
    )


def affine_transforms(moves: GeometricParameters, image_size: int, input_size: int) -> FloatArray:
    """One transform an image, shape ``[N, 8]``: all of its moves together.

    Each maps a pixel (x, y) of the result, ``input_size`` pixels square, to where it is read in
    the source, in TensorFlow's order ``(a0, a1, a2, b0, b1, b2, 0, 0)``:
    ``x' = a0 x + a1 y + a2``, ``y' = b0 x + b1 y + b2``.

    Rotation, shift, shear and zoom are those of Keras's ``ImageDataGenerator``, multiplied in its
    order about the image's centre (``apply_affine_transform`` in
    ``keras/src/legacy/preprocessing/image.py``): ``[[cos r, -sin r], [sin r, cos r]]``, the shift,
    ``[[1, -sin s], [0, cos s]]``, ``diag(zoom)``. A square is cut out of what they make, turned,
    then mirrored. These three take whole pixels: alone, they give the very bytes of slicing.
    """
    angle, slant = np.deg2rad(moves.rotation), np.deg2rad(moves.shear)
    rotation = _matrices(np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle))
    shear = _matrices(1, -np.sin(slant), 0, np.cos(slant))
    affine = rotation @ shear * moves.zoom[:, None]
    cos, sin = np.array([1, 0, -1, 0])[moves.turns], np.array([0, 1, 0, -1])[moves.turns]
    side = np.where(moves.mirror, -1, 1)
    matrix = affine @ _matrices(cos * side, -sin, sin * side, cos)
    source, result = np.full(2, (image_size - 1) / 2), np.full(2, (input_size - 1) / 2)
    cut = moves.corner + result - source  # from the centre of the source to that of the square
    offset = source + _times(affine, cut) - _times(rotation, moves.shift) - matrix @ result
    rows = np.zeros((len(angle), 8), np.float32)
    rows[:, [0, 1, 3, 4]] = matrix.reshape(-1, 4)
    rows[:, [2, 5]] = offset
    return rows


def draw_augmentations(
    images: int, image_size: int, input_size: int, augment: AugmentConfig, seed: int, epoch: int
) -> tuple[FloatArray, FloatArray]:
    """An epoch's transforms ``[images, 8]``, and what it multiplies pixels by, ``[images]``."""
    moves = draw_geometry(images, image_size, input_size, augment, seed, epoch)
    draws = np.random.default_rng([seed, epoch, BRIGHTNESS]).uniform(-1, 1, images)
    brightness = (1 + augment.brightness * draws).astype(np.float32)
    return affine_transforms(moves, image_size, input_size), brightness


def epoch_augmentations(
    order: IntArray, image_size: int, input_size: int, augment: AugmentConfig, seed: int, epoch: int
) -> tuple[FloatArray, FloatArray]:
    """The changes of each position of an epoch: transforms ``[T, 8]`` and factors ``[T]``."""

    def drawn(view: int, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        transforms, brightness = draw_augmentations(
            len(order), image_size, input_size, augment, seed, view
        )
        return transforms[rows], brightness[rows]

    if isinstance(augment.views, str):
        return drawn(epoch, augmentation_rows(order))
    views = epoch_views(order, augment.views, epoch)
    transforms, brightness = np.empty((len(order), 8), np.float32), np.empty(len(order), np.float32)
    for view in np.unique(views):
        at = views == view
        transforms[at], brightness[at] = drawn(int(view), order[at])
    return transforms, brightness


def needs_interpolation(augment: AugmentConfig) -> bool:
    """Whether pixels of a result lie between those of the image."""
    return any(
        (augment.rotation, augment.shear, augment.zoom, augment.height_shift, augment.width_shift)
    )


def changes_geometry(augment: AugmentConfig) -> bool:
    """Whether an image becomes anything but its central square, brightness apart."""
    return needs_interpolation(augment) or augment.horizontal_flip or augment.rot90 or augment.crop


def center_crop(images: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """The central square of each image: ``[N, size, size, C]`` of ``[N, S, S, C]``."""
    corner = (images.shape[1] - size) // 2
    return images[:, corner : corner + size, corner : corner + size]


def _matrices(*entries: npt.ArrayLike) -> Floats:
    """Matrices ``[N, 2, 2]`` of their four entries, row by row, each ``[N]`` or one number."""
    return np.stack(np.broadcast_arrays(*entries), axis=-1).reshape(-1, 2, 2).astype(np.float64)


def _times(matrices: Floats, vectors: Floats) -> Floats:
    """Each matrix ``[N, 2, 2]`` times its vector ``[N, 2]``."""
    return (matrices @ vectors[:, :, None])[:, :, 0]
