"""Decoding of an image file to a square ``uint8`` array."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from xray_hpc.data import dicom
from xray_hpc.errors import DataError

# Pillow's own limit, about 9,400 pixels square; X-rays have less than a third of that.
MAX_PIXELS = 89_478_485
MIN_SIDE = 8
# JPEG is decoded at 1/2, 1/4 or 1/8 scale if that leaves this many times the pixels needed per
# side: the final filter still averages over neighbours, and the result is nearly the same.
DRAFT_GAP = 2
TILES = (8, 8)

Pixels = npt.NDArray[np.uint8]


class UnreadableImageError(DataError):
    """The file ``path`` is not a complete image, for a short ``reason``."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class MissingDecoderError(UnreadableImageError):
    """Decoding the file needs a package that is not installed."""


def decode(path: Path, size: int, channels: int, clahe: float | None = None) -> Pixels:
    """Read an image as ``uint8 [size, size, channels]``.

    The image is resized to the square with an antialiased bilinear filter. 16-bit grey values are
    scaled from 0..65535 to 0..255, transparency is dropped, and EXIF orientation is ignored. DICOM
    is displayed as its header specifies (see ``dicom.pixels``). With a clip limit ``clahe``, the
    result is equalized (see :func:`equalize`).

    Raises:
        UnreadableImageError: the file is incomplete, too large, or access is denied.
        MissingDecoderError: the file is DICOM and its reader is not installed.
        OSError: the file system failed.
    """
    return decode_bytes(read_bytes(path), path, size, channels, clahe)


def read_bytes(path: Path) -> bytes:
    """Read the file; denied access raises ``UnreadableImageError``."""
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise UnreadableImageError(path, "no permission to read it") from error


def decode_bytes(
    data: bytes, path: Path, size: int, channels: int, clahe: float | None = None
) -> Pixels:
    """Decode the contents of a file, as :func:`decode` does; ``path`` is for messages."""
    if not data:
        raise UnreadableImageError(path, "empty file")
    with _warnings_suppressed():
        try:
            square = _square(data, path, size, "L" if channels == 1 else "RGB")
        except (UnreadableImageError, MemoryError):
            raise
        except dicom.NoDecoderError as error:
            raise MissingDecoderError(path, str(error)) from error
        except Image.DecompressionBombError as error:
            raise UnreadableImageError(path, "too large") from error
        except UnidentifiedImageError as error:
            raise UnreadableImageError(path, "not an image") from error
        except Exception as error:  # a broken file makes Pillow's parsers raise almost anything
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise UnreadableImageError(path, reason) from error
    if square.dtype != np.uint8:
        square = np.clip(np.rint(square), 0, 255).astype(np.uint8)
        square = np.repeat(square[:, :, None], channels, axis=2)
    square = square.reshape(size, size, channels)
    return square if clahe is None else equalize(square, clahe)


def _square(data: bytes, path: Path, size: int, mode: str) -> npt.NDArray[Any]:
    """Return the resized pixels in ``mode``, as floats for grey of more than 8 bits."""
    if dicom.is_dicom(data, path):
        header = dicom.read_header(data)
        _check_size(path, header.Columns, header.Rows)
        image = Image.fromarray(dicom.pixels(header))
        plain = image if image.mode == "F" else _plain(image, path, mode)
        return np.asarray(plain.resize((size, size), Image.Resampling.BILINEAR))
    with Image.open(io.BytesIO(data)) as image:
        _check_size(path, image.width, image.height)
        drafted = image.draft(mode, (DRAFT_GAP * size, DRAFT_GAP * size))
        plain = _plain(image, path, mode)
        # A draft rounds its size up; the box is the part that the image fills.
        box = drafted[1] if drafted else None
        return np.asarray(plain.resize((size, size), Image.Resampling.BILINEAR, box))


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(path, f"too large ({width}x{height})")
    if min(width, height) < MIN_SIDE:
        raise UnreadableImageError(path, f"too small ({width}x{height})")


def _plain(image: Image.Image, path: Path, mode: str) -> Image.Image:
    """Convert to ``L`` or ``RGB``, and 16-bit grey to ``F`` in 0..255."""
    if image.mode.startswith("I"):
        return Image.fromarray(np.asarray(image).astype(np.float32) / 257)
    if image.mode == "F":
        raise UnreadableImageError(path, "floating-point pixels of unknown range")
    if image.mode == mode:
        return image
    if image.mode not in ("1", "L", "LA", "RGB"):  # the other modes cannot all be converted to grey
        image = image.convert("RGB")
    return image.convert(mode)


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
