"""One image file to one square array of bytes."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

# About 9,400 pixels square, Pillow's own limit: radiographs have less than a third of that.
MAX_PIXELS = 89_478_485
MIN_SIDE = 8  # less shows no chest
# JPEG is decoded at 1/2, 1/4 or 1/8 where that leaves this many times the pixels needed: the
# final filter still averages over neighbours, and the result is all but the same.
DRAFT_GAP = 2


class UnreadableImageError(Exception):
    """A file that is no whole image: ``path`` and, in a few words, ``reason``."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def decode(path: Path, size: int, channels: int) -> npt.NDArray[np.uint8]:
    """Read an image as ``uint8 [size, size, channels]``.

    It is stretched to the square with an antialiased bilinear filter. 16-bit grey is scaled from
    0..65535 to 0..255, transparency is dropped, and an EXIF orientation is not applied.

    Raises:
        UnreadableImageError: the file is not a whole image, may not be read, or is too large.
        OSError: the file system failed.
    """
    return decode_bytes(read_bytes(path), path, size, channels)


def read_bytes(path: Path) -> bytes:
    """Read the file; no permission makes it an unreadable image."""
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise UnreadableImageError(path, "no permission to read it") from error


def decode_bytes(data: bytes, path: Path, size: int, channels: int) -> npt.NDArray[np.uint8]:
    """:func:`decode` for contents already read; ``path`` is for messages."""
    if not data:
        raise UnreadableImageError(path, "empty file")
    with _quiet():
        try:
            with Image.open(io.BytesIO(data)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UnreadableImageError(path, f"too large ({image.width}x{image.height})")
                if min(image.width, image.height) < MIN_SIDE:
                    raise UnreadableImageError(path, f"too small ({image.width}x{image.height})")
                mode = "L" if channels == 1 else "RGB"
                drafted = image.draft(mode, (DRAFT_GAP * size, DRAFT_GAP * size))
                plain = _plain(image, path, mode)
                # A draft rounds its size up; the box is what of it the image fills.
                box = drafted[1] if drafted else None
                resized = plain.resize((size, size), Image.Resampling.BILINEAR, box)
                square = np.asarray(resized)
        except (UnreadableImageError, MemoryError):
            raise
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
    return square.reshape(size, size, channels)


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
