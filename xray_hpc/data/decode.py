"""Decoding of an image file to a square ``uint8`` array."""

from __future__ import annotations

import io
import threading
import warnings
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
from xray_hpc.data import dicom, grey_levels
from xray_hpc.errors import DataError

# Pillow's own limit, about 9,400 pixels square; X-rays have less than a third of that.
MAX_PIXELS = 89_478_485
MIN_SIDE = 8
# JPEG is decoded at 1/2, 1/4 or 1/8 scale if that leaves this many times the pixels needed per
# side: the final filter still averages over neighbours, and the result is nearly the same.
DRAFT_GAP = 2
TILES = (8, 8)
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601-2, as in Pillow
SUBFILE_TYPE, REDUCED = 254, 1  # TIFF
JPEG_START = b"\xff\xd8"
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
        UnreadableImageError: the file is incomplete, too large, or access is denied; or its values
            do not fit into ``grey_range``.
        MissingDecoderError: the file is DICOM and its reader is not installed.
        OSError: the file system failed.
    """
    return decode_bytes(read_bytes(path), path, size, channels, clahe, grey_range).pixels


def read_bytes(path: Path) -> bytes:
    """Read the file; denied access raises ``UnreadableImageError``."""
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise UnreadableImageError(path, "no permission to read it") from error


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
    with _warnings_suppressed():
        try:
            square, largest = _square(data, path, size, mode, grey_range)
        except (UnreadableImageError, MemoryError):
            raise
        except dicom.NoDecoderError as error:
            raise MissingDecoderError(path, str(error)) from error
        except Image.DecompressionBombError as error:
            raise UnreadableImageError(path, "too large") from error
        except UnidentifiedImageError as error:
            raise UnreadableImageError(path, _unidentified(data)) from error
        except Exception as error:  # a broken file makes Pillow's parsers raise almost anything
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise UnreadableImageError(path, reason) from error
    if square.dtype != np.uint8:
        square = np.clip(np.rint(square), 0, 255).astype(np.uint8)
    if square.ndim == 2:
        square = square[:, :, None]
    if square.shape[2] < channels:
        square = np.repeat(square, channels, axis=2)
    square = np.ascontiguousarray(square)
    return Decoded(square if clahe is None else equalize(square, clahe), largest)


def _unidentified(data: bytes) -> str:
    """Return why Pillow does not recognize a file."""
    if data.startswith(JPEG_START):
        try:
            JpegImageFile(io.BytesIO(data))
        except Exception as error:
            if "-bit" in str(error):  # other than 8
                return f"JPEG: {error}"
    return "not an image"


def _square(
    data: bytes, path: Path, size: int, mode: str, grey_range: GreyRange | None
) -> tuple[npt.NDArray[Any], int]:
    """Return the resized pixels, and the largest grey value; floats if of more than 8 bits."""
    if dicom.is_dicom(data, path):
        header = dicom.read_header(data)
        _check_size(path, header.Columns, header.Rows)
        shown = dicom.pixels(header, grey_range if isinstance(grey_range, tuple) else None)
        if shown.dtype == np.uint8:
            return _resize(_plain(Image.fromarray(shown), mode), size), 0
        return _resize(Image.fromarray(shown), size), 0
    with Image.open(io.BytesIO(data)) as image:
        _check_size(path, image.width, image.height)
        _check_frames(path, image)
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


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(path, f"too large ({width}x{height})")
    if min(width, height) < MIN_SIDE:
        raise UnreadableImageError(path, f"too small ({width}x{height})")


def _check_frames(path: Path, image: Image.Image) -> None:
    """Refuse an animation and a file of several pages; smaller copies of the first are allowed."""
    if image.format not in ("GIF", "PNG", "TIFF", "WEBP"):
        return
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and isinstance(image, TiffImageFile):
        kinds = []
        for page in range(frames):
            image.seek(page)
            kinds.append(image.tag_v2.get(SUBFILE_TYPE, 0))
        image.seek(0)
        frames = sum(not kind & REDUCED for kind in kinds)
    if frames > 1:
        raise UnreadableImageError(path, f"{image.format} of {frames} frames")


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


_lock = threading.Lock()
_inside = 0
_caught: warnings.catch_warnings[None] | None = None


@contextmanager
def _warnings_suppressed() -> Iterator[None]:
    """Suppress Pillow's warnings about EXIF and large images.

    ``warnings.catch_warnings`` changes the whole process, and interleaved threads could leave it
    changed. So the first thread to enter changes it, and the last one to leave restores it.
    """
    global _inside, _caught
    with _lock:
        if _inside == 0:
            _caught = warnings.catch_warnings()
            _caught.__enter__()
            warnings.simplefilter("ignore")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _caught is not None:
                _caught.__exit__(None, None, None)
                _caught = None
