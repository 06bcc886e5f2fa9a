"""One image file to one square array of bytes."""

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

# About 9,400 pixels square, Pillow's own limit: radiographs have less than a third of that.
MAX_PIXELS = 89_478_485
MIN_SIDE = 8  # less shows no chest
# JPEG is decoded at 1/2, 1/4 or 1/8 where that leaves this many times the pixels needed: the
# final filter still averages over neighbours, and the result is all but the same.
DRAFT_GAP = 2
TILES = (8, 8)


class UnreadableImageError(Exception):
    """A file that is no whole image: ``path`` and, in a few words, ``reason``."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class MissingDecoderError(UnreadableImageError):
    """A file that another installation would read."""


def decode(
    path: Path, size: int, channels: int, clahe: float | None = None
) -> npt.NDArray[np.uint8]:
    """Read an image as ``uint8 [size, size, channels]``.

    It is stretched to the square with an antialiased bilinear filter. 16-bit grey is scaled from
    0..65535 to 0..255, transparency is dropped, and an EXIF orientation is not applied. DICOM is
    shown as its header says (see ``dicom.pixels``). ``clahe`` is the clip limit of a histogram
    equalization of the square, after it was resized (see ``contrast.equalize``).

    Raises:
        UnreadableImageError: the file is not a whole image, may not be read, or is too large.
        MissingDecoderError: it is DICOM, and what reads it is not installed.
        UserError: ``clahe`` needs OpenCV, which is not installed.
        OSError: the file system failed.
    """
    return decode_bytes(read_bytes(path), path, size, channels, clahe)


def read_bytes(path: Path) -> bytes:
    """Read the file; no permission makes it an unreadable image."""
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise UnreadableImageError(path, "no permission to read it") from error


def decode_bytes(
    data: bytes, path: Path, size: int, channels: int, clahe: float | None = None
) -> npt.NDArray[np.uint8]:
    """:func:`decode` for contents already read; ``path`` is for messages."""
    if not data:
        raise UnreadableImageError(path, "empty file")
    with _quiet():
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
    """The pixels of ``mode`` at ``size``; floats for grey of more than 8 bits."""
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
        # A draft rounds its size up; the box is what of it the image fills.
        box = drafted[1] if drafted else None
        return np.asarray(plain.resize((size, size), Image.Resampling.BILINEAR, box))


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(path, f"too large ({width}x{height})")
    if min(width, height) < MIN_SIDE:
        raise UnreadableImageError(path, f"too small ({width}x{height})")


def _plain(image: Image.Image, path: Path, mode: str) -> Image.Image:
    """The image as ``L`` or ``RGB``; 16-bit grey as ``F`` in 0..255."""
    if image.mode.startswith("I"):
        return Image.fromarray(np.asarray(image).astype(np.float32) / 257)
    if image.mode == "F":
        raise UnreadableImageError(path, "floating-point pixels, whose range is not known")
    if image.mode == mode:
        return image
    if image.mode not in ("1", "L", "LA", "RGB"):  # not all of the others have a way to grey
        image = image.convert("RGB")
    return image.convert(mode)


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


_lock = threading.Lock()
_inside = 0
_caught: warnings.catch_warnings[None] | None = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings (odd EXIF, large images) from the user.

    ``warnings.catch_warnings`` changes the whole process, and threads that enter and leave it in
    turn can leave it changed: the first one in does it here, and the last one out undoes it.
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
