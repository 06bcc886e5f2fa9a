"""Decoding of an image file to a square ``uint8`` array."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from xray_hpc.config.run_config import GreyRange
from xray_hpc.data import dicom, dicom_header, grey_levels
from xray_hpc.data.decode_limits import (
    DICOM,
    FILE_MEMORY,
    INFLATED_MEMORY,
    LIMIT,
    MAX_FILE_BYTES,
    PIXEL_MEMORY,
    check_frames,
    check_scans,
    check_size,
    lacks_memory,
    memory_needed,
)
from xray_hpc.data.pillow_warnings import warnings_suppressed
from xray_hpc.errors import DataError
from xray_hpc.regular_file import read_regular

# Those of ``folder_index.SUFFIXES``, whatever the suffix is: many a JPEG is named x.png. Pillow
# knows 40 others, and runs Ghostscript for one of them.
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF")
UNIDENTIFIED = f"not {', '.join(FORMATS)} or DICOM"
NO_REGULAR_FILE = (errno.EINVAL, errno.EISDIR, errno.ENXIO, errno.ELOOP)  # or a larger one
# JPEG is decoded at 1/2, 1/4 or 1/8 scale if that leaves this many times the pixels needed per
# side: the final filter still averages over neighbours, and the result is nearly the same.
DRAFT_GAP = 2
TILES = (8, 8)
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601-2, as in Pillow
JPEG_START = b"\xff\xd8"
MAX_REASON = 200  # characters; a reason may quote the file
EXIF_KEYS = {"exif", "xmp", "Raw profile type exif"}  # where Pillow finds an orientation

Pixels = npt.NDArray[np.uint8]


class UnreadableImageError(DataError):
    """The file ``path`` is not a complete image, for a short ``reason``."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class MissingDecoderError(UnreadableImageError):
    """Decoding the file needs a package that is not installed."""


class OutOfMemoryError(UnreadableImageError, MemoryError):
    """There is not enough memory to read or decode the file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "not enough memory; raise ulimit -v, or use a machine with more")


class Decoded(NamedTuple):
    """A decoded image, and the largest grey value of a file with more than 8 bits, or else 0."""

    pixels: Pixels
    largest: int


def decode(
    path: Path,
    size: int,
    channels: int,
    clahe: float | None = None,
    grey_range: GreyRange | None = None,
) -> Pixels:
    """Read an image as ``uint8 [size, size, channels]``.

    The image is turned upright, as EXIF says, and resized to the square with an antialiased
    bilinear filter. Values of more than 8 bits are scaled from ``grey_range`` to 0..255 (see
    ``grey_levels.scale``), and transparency is dropped. DICOM is displayed as its header specifies
    (see ``dicom.pixels``). With a clip limit ``clahe``, the result is equalized (see
    :func:`equalize`).

    Raises:
        UnreadableImageError: the file is incomplete, too large, no regular file, or access is
            denied; or its values do not fit into ``grey_range``.
        MissingDecoderError: the file is DICOM and its reader is not installed.
        OutOfMemoryError: there is not enough memory.
        OSError: the file system failed.
    """
    with file_contents(path) as data:
        return decode_bytes(data, path, size, channels, clahe, grey_range).pixels


@contextmanager
def file_contents(path: Path) -> Iterator[bytes]:
    """Yield the contents of an image file; its memory counts until the block ends.

    Raises:
        UnreadableImageError: the file is too large or no regular file, or access is denied.
        OutOfMemoryError: there is not enough memory.
        OSError: the file system failed.
    """
    try:
        size = path.stat().st_size
    except OSError:  # raised again below
        size = 0
    with FILE_MEMORY.reserve(min(size, MAX_FILE_BYTES)):
        try:
            data = read_regular(path, MAX_FILE_BYTES)
        except PermissionError as error:
            raise UnreadableImageError(path, "no permission to read it") from error
        except OSError as error:
            if error.errno in NO_REGULAR_FILE:
                raise UnreadableImageError(path, error.strerror or str(error)) from error
            raise
        except MemoryError as error:
            raise OutOfMemoryError(path) from error
        yield data


def decode_bytes(
    data: bytes,
    path: Path,
    size: int,
    channels: int,
    clahe: float | None = None,
    grey_range: GreyRange | None = None,
) -> Decoded:
    """Decode the contents of a file, as :func:`decode` does; ``path`` is for messages."""
    if not data:
        raise UnreadableImageError(path, "empty file")
    mode = "L" if channels == 1 else "RGB"
    with warnings_suppressed():
        try:
            square, largest = _square(data, path, size, mode, grey_range)
            return Decoded(_finish(square, channels, clahe), largest)
        except UnreadableImageError:
            raise
        except dicom_header.NoDecoderError as error:
            raise MissingDecoderError(path, str(error)) from error
        except Image.DecompressionBombError as error:
            raise UnreadableImageError(path, f"too large ({LIMIT})") from error
        except UnidentifiedImageError as error:
            raise UnreadableImageError(path, _unidentified(data)) from error
        except Exception as error:  # a broken file makes Pillow's parsers raise almost anything
            if lacks_memory(error):
                raise OutOfMemoryError(path) from error
            reason = str(error).partition("\n")[0][:MAX_REASON] or type(error).__name__
            if not isinstance(error, (ValueError, SyntaxError, OSError)):
                reason = f"damaged ({reason})"
            raise UnreadableImageError(path, reason) from error


def _finish(square: npt.NDArray[Any], channels: int, clahe: float | None) -> Pixels:
    """Round to 8 bits, add channels and equalize."""
    if square.dtype != np.uint8:
        square = np.clip(np.rint(square), 0, 255).astype(np.uint8)
    if square.ndim == 2:
        square = square[:, :, None]
    if square.shape[2] < channels:
        square = np.repeat(square, channels, axis=2)
    square = np.ascontiguousarray(square)
    return square if clahe is None else equalize(square, clahe)


def _unidentified(data: bytes) -> str:
    """Return why Pillow does not recognize a file."""
    if data.startswith(JPEG_START):
        try:
            JpegImageFile(io.BytesIO(data))
        except Exception as error:
            if "-bit" in str(error):  # other than 8
                return f"JPEG: {error}"
        return "damaged JPEG"
    return UNIDENTIFIED


def _square(
    data: bytes, path: Path, size: int, mode: str, grey_range: GreyRange | None
) -> tuple[npt.NDArray[Any], int]:
    """Return the resized pixels, and the largest grey value; floats if of more than 8 bits."""
    if dicom_header.is_dicom(data, path):
        with INFLATED_MEMORY.reserve(MAX_FILE_BYTES if dicom_header.is_deflated(data) else 0):
            return _square_dicom(data, path, size, mode, grey_range), 0
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        check_size(image.width, image.height)
        check_frames(image)
        check_scans(image, data)
        with PIXEL_MEMORY.reserve(memory_needed(image, data)):
            if (grey := grey_levels.read_values(image, data)) is not None:
                values, largest = grey_levels.scale(grey, grey_range)
                square = _resize_floats(values, size, mode)
            else:
                largest = 0
                drafted = image.draft(mode, (DRAFT_GAP * size, DRAFT_GAP * size))
                plain = _plain(image, mode)
                # A draft rounds its size up; the box is the part that the image fills.
                square = _resize(plain, size, drafted[1] if drafted else None)
            return grey_levels.orient(square, _orientation(image)), largest


def _square_dicom(
    data: bytes, path: Path, size: int, mode: str, grey_range: GreyRange | None
) -> npt.NDArray[Any]:
    header = dicom_header.read_header(data)
    width, height = dicom_header.picture_size(header)
    check_size(width, height)
    with PIXEL_MEMORY.reserve(width * height * DICOM):
        shown = dicom.pixels(header, grey_range if isinstance(grey_range, tuple) else None)
        image = Image.fromarray(shown)
        return _resize(_plain(image, mode) if shown.dtype == np.uint8 else image, size)


def _orientation(image: Image.Image) -> object:
    """Return the EXIF orientation that remains to be applied."""
    if isinstance(image, TiffImageFile) or EXIF_KEYS.isdisjoint(image.info):
        return 1  # the decoder of TIFF applies it
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Pillow's parser raises almost anything for damaged EXIF data
        return 1


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """Convert an image of 8 bits to ``L`` or ``RGB``."""
    if image.mode == mode:
        return image
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode not in ("1", "L", "LA", "RGB"):  # the other modes cannot all be converted to grey
        image = image.convert("RGB")
    return image.convert(mode)


def _resize(
    image: Image.Image, size: int, box: tuple[float, float, float, float] | None = None
) -> npt.NDArray[Any]:
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box))


def _resize_floats(values: npt.NDArray[np.float32], size: int, mode: str) -> npt.NDArray[Any]:
    """Resize ``[height, width]`` or ``[height, width, 3]``, colours converted to grey for ``L``."""
    if values.ndim == 2:
        return _resize(Image.fromarray(values), size)
    planes = [_resize(Image.fromarray(values[:, :, k]), size) for k in range(3)]
    colours = np.stack(planes, axis=2)
    return colours @ LUMINANCE if mode == "L" else colours


def equalize(image: Pixels, clip_limit: float) -> Pixels:
    """Apply contrast-limited adaptive histogram equalization (Zuiderveld, Graphics Gems IV, 1994).

    An RGB image ``[S, S, 3]`` is equalized in its lightness (L of CIELAB), which preserves its
    colours. ``clip_limit`` is the largest count of a histogram bin relative to the mean; OpenCV
    rounds the count down to whole pixels, so that close limits are equivalent for small images.
    """
    clahe = cv2.createCLAHE(clipLimit=clip_limit, tileGridSize=TILES)
    if image.shape[2] == 1:
        return np.asarray(clahe.apply(image[:, :, 0]), np.uint8)[:, :, None]
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[:, :, 0] = clahe.apply(lab[:, :, 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)
