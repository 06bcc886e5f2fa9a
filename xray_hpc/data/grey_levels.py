"""Grey values of files with more than 8 bits, and the range that is scaled to 0..255.

Such files rarely name their range: detectors write 12-bit values into 16-bit files. The range is
that of the whole data set, so that differences in exposure between its images remain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from xray_hpc.config.run_config import GreyRange
from xray_hpc.count_text import format_count

BIT_DEPTHS = (8, 10, 12, 14, 16)  # of detectors

# TIFF tags, and their values
BITS, PHOTOMETRIC, PLANAR, FORMAT = 258, 262, 284, 339
WHITE_IS_ZERO, SEPARATE_PLANES, UNSIGNED, SIGNED = 0, 2, 1, 2

RANGE_KEY = "data.range"
UNKNOWN = f"unknown range; set it with {RANGE_KEY}=[LOW,HIGH]"
FEW_FILES = 0.1
FEW_LEVELS = 0.01

Values = npt.NDArray[Any]


class GreyValues(NamedTuple):
    """The values of an image.

    Attributes:
        values: ``[height, width]`` or, in colour, ``[height, width, 3]``.
        declared: the number of bits of which the file says that it uses them, or 0.
        inverted: small values are white.
    """

    values: Values
    declared: int = 0
    inverted: bool = False


def smallest_depth(largest: int) -> int:
    """Return the smallest of the usual bit depths that holds ``largest``, or else the largest."""
    return next((bits for bits in BIT_DEPTHS if largest < 2**bits), BIT_DEPTHS[-1])


def scale(grey: GreyValues, grey_range: GreyRange | None) -> tuple[npt.NDArray[np.float32], int]:
    """Scale grey values to 0 (black) to 255 (white).

    Args:
        grey: the values.
        grey_range: their range; values outside of two numbers are clipped. None stands for the
            smallest usual bit depth that holds the largest value.

    Returns:
        The scaled values, and the largest value or, where bits are declared, that of these bits;
        0 for a range of two numbers.

    Raises:
        ValueError: the values do not fit into the range; the message is a short reason.
    """
    values, largest = grey.values, 0
    if isinstance(grey_range, tuple):
        low, high = grey_range
        if not np.isfinite(values).all():
            raise ValueError("pixels that are not finite numbers")
    elif values.dtype.kind == "f":
        raise ValueError(f"floating-point pixels of {UNKNOWN}")
    elif (least := int(values.min())) < 0:
        raise ValueError(f"negative pixels (down to {least}) of {UNKNOWN}")
    else:
        most = int(values.max())
        largest = max(most, 2**grey.declared - 1)
        bits = grey_range or smallest_depth(largest)
        if most >= 2**bits:
            raise ValueError(f"pixels up to {most}, beyond the {bits}-bit range ({RANGE_KEY})")
        low, high = 0, 2**bits - 1
    scaled = values.astype(np.float32)  # and then in place: the only copy
    scaled -= np.float32(low)
    scaled *= np.float32(255 / (high - low))
    np.clip(scaled, 0, 255, out=scaled)
    if grey.inverted:
        np.subtract(255, scaled, out=scaled)
    return scaled, largest


def range_notes(
    given: GreyRange | Literal["auto"],
    largest: npt.NDArray[np.int64],
    images: npt.NDArray[np.uint8],
    files: Sequence[str],
) -> list[str]:
    """Return a note if the range of a data set leaves most images few of the 256 grey levels.

    Args:
        given: ``data.range``.
        largest: ``[N]``, as :func:`scale` returned it, or 0 for a file of 8 bits.
        images: ``uint8 [N, ...]``, the scaled values.
        files: the names of the N images.
    """
    wide = np.flatnonzero(largest)
    if given == "auto":
        return _auto_notes(largest[wide], [files[i] for i in wide.tolist()]) if len(wide) else []
    if isinstance(given, tuple):
        sample = images[:: max(1, len(images) // 100)].reshape(-1, images[0].size)
        share = float(np.median(np.ptp(sample, axis=1))) / 255
    else:
        share = float(np.median(largest[wide])) / 2**given if len(wide) else 1
    if share >= FEW_LEVELS:
        return []
    shown = f"[{given[0]:g},{given[1]:g}]" if isinstance(given, tuple) else given
    return [
        f"{RANGE_KEY} is {shown}, of which most images use less than {FEW_LEVELS:.0%}; set the "
        "range of their values"
    ]


def _auto_notes(largest: npt.NDArray[np.int64], files: Sequence[str]) -> list[str]:
    """Return a note on the range that ``auto`` chose, unless most files need all 16 bits."""
    depths = np.array([smallest_depth(int(value)) for value in largest])
    bits = depths.max()
    count, few = len(depths), np.flatnonzero(depths == bits).tolist()
    if len(few) <= FEW_FILES * count:
        rest = depths[depths < bits].max()
        return [
            f"{len(few):,} of {count:,} files of more than 8 bits use {bits} bits, such as "
            f"{files[few[0]]!r}, and the others at most {rest}: all are scaled by {2**bits - 1}; "
            f"{RANGE_KEY}=[0,{2**rest - 1}] clips the {len(few):,} instead"
        ]
    if bits == BIT_DEPTHS[-1]:
        return []
    return [
        f"{bits}-bit values in {format_count(count, 'file')} of more than 8 bits: scaled by "
        f"{2**bits - 1} ({RANGE_KEY} sets another range)"
    ]


def is_wide(image: Image.Image, data: bytes) -> bool:
    """Return whether an image, opened from the contents of its file, has more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I") or _bits(image, data) > 8


def _bits(image: Image.Image, data: bytes) -> int:
    if image.format == "PNG":
        return data[24]
    return int(max(getattr(image, "tag_v2", {}).get(BITS, (8,))))


def read_values(image: Image.Image, data: bytes) -> GreyValues | None:
    """Return the values of an image with more than 8 bits or a sign; None for another image.

    Args:
        image: the opened image.
        data: the contents of its file.

    Raises:
        ValueError: its colours are stored in a way that cannot be read.
    """
    tags = getattr(image, "tag_v2", {})
    bits = _bits(image, data)
    number = tags.get(FORMAT, (UNSIGNED,))[0]
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        if bits == 32 and number == UNSIGNED:
            values = values.view(np.uint32)  # Pillow's mode is signed
        declared = bits if 8 < bits < 16 else 0
        # Of 8 bits, Pillow inverts the values itself.
        return GreyValues(values, declared, tags.get(PHOTOMETRIC) == WHITE_IS_ZERO)
    if bits > 8:
        if image.mode not in ("RGB", "RGBA") or tags.get(PLANAR) == SEPARATE_PLANES:
            raise ValueError(f"{bits}-bit colours in an unsupported layout")
        image.load()  # the same error as for other images, if the file is broken
        # Pillow keeps the upper 8 bits only.
        flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if decoded is None:
            raise ValueError(f"{bits}-bit colours that cannot be decoded")
        return GreyValues(decoded[:, :, ::-1])
    if number == SIGNED:
        return GreyValues(np.asarray(image).view(np.int8))
    return None


def orient(pixels: Values, orientation: object) -> Values:
    """Turn or flip ``[height, width, ...]`` upright from an EXIF orientation (1 to 8)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels
