"""Grey values of files with more than 8 bits, and the range that is scaled to 0..255.

Such files rarely name their range: detectors write 12-bit values into 16-bit files. The range is
that of the whole data set, so that differences in exposure between its images remain.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from xray_hpc.config.run_config import GreyRange

BIT_DEPTHS = (8, 10, 12, 14, 16)  # of detectors

# TIFF tags, and their values
BITS, PHOTOMETRIC, PLANAR, FORMAT = 258, 262, 284, 339
WHITE_IS_ZERO, SEPARATE_PLANES, UNSIGNED, SIGNED = 0, 2, 1, 2

UNKNOWN = "unknown range; set it with data.range=[LOW,HIGH]"

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
            raise ValueError(f"pixels up to {most}, beyond the {bits}-bit range (data.range)")
        low, high = 0, 2**bits - 1
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    np.clip(scaled, 0, 255, out=scaled)
    return 255 - scaled if grey.inverted else scaled, largest


def read_values(image: Image.Image, data: bytes) -> GreyValues | None:
    """Return the values of an image with more than 8 bits or a sign; None for another image.

    Args:
        image: the opened image.
        data: the contents of its file.

    Raises:
        ValueError: its colours are stored in a way that cannot be read.
    """
    tags = getattr(image, "tag_v2", {})
    bits = data[24] if image.format == "PNG" else max(tags.get(BITS, (8,)))
    number = tags.get(FORMAT, (UNSIGNED,))[0]
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        if bits == 32 and number == UNSIGNED:
            values = values.view(np.uint32)  # Pillow's mode is signed
        scaled = image.format in ("JPEG2000", "PPM")  # by Pillow, to 16 bits
        declared = 16 if scaled else bits if 8 < bits < 16 else 0
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
