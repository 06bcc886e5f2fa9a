"""Limits on what decoding an untrusted image may read, allocate and compute."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice

import cv2
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from xray_hpc.cgroup_memory import available_memory
from xray_hpc.data.grey_levels import PHOTOMETRIC, is_wide

# Pillow's own limit, about 9,400 pixels square; X-rays have less than a third of that.
MAX_PIXELS = 89_478_485
LIMIT = f"at most {MAX_PIXELS:,} pixels"
MIN_SIDE = 8
# An uncompressed X-ray of MAX_PIXELS and 16 bits has 171 MiB.
MAX_FILE_BYTES = 256 * 2**20
# A JPEG encoder writes about 10 scans; each takes as long as decoding a whole image.
MAX_SCANS, SCAN = 100, re.compile(b"\xff\xda")
MAX_PAGES = 32  # of a TIFF that are read to find out whether all are smaller copies of the first
SUBFILE_TYPE, REDUCED, TILE_WIDTH, TILE_HEIGHT = 254, 1, 322, 323  # TIFF
COMPRESSION, JPEG, YCBCR, ROWS_PER_STRIP, ALL_ROWS = 259, 7, 6, 278, 2**32 - 1
MAX_TILE_SIDE, MAX_STRIP_PIXELS = 2**24, 2**29 - 1  # in libtiff's and Pillow's 31 bits
# Pillow has a number instead of a message for TIFF.
NO_MEMORY = re.compile("(out of|insufficient) memory|^decoder error -9$", re.IGNORECASE)
# Most bytes a pixel while an image is decoded, measured: of 8 bits (8.1 for a palette), of more
# (16.4 for 32 bits), of more in colour (31.2), and of DICOM (30.2 for YBR_FULL).
NARROW, WIDE, WIDE_COLOUR, DICOM = 9, 17, 32, 32


class MemoryBudget:
    """Bytes that threads reserve before they allocate them, and otherwise wait for."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._released = threading.Condition()

    @contextmanager
    def reserve(self, count: int) -> Iterator[None]:
        """Reserve ``count`` bytes for the block; more than ``total`` wait until all is free."""
        share = min(count, self.total)
        with self._released:
            self._released.wait_for(lambda: self._free >= share)
            self._free -= share
        try:
            yield
        finally:
            with self._released:
                self._free += share
                self._released.notify_all()


def budgets(available: int) -> tuple[MemoryBudget, MemoryBudget, MemoryBudget]:
    """Return what all decoding threads may use of the ``available`` memory, however many they are.

    About a third, or 2.75 GiB where that is more: for files, inflated DICOM (one file at a time,
    for they are rare), and pixels.
    """
    return (
        MemoryBudget(max(2 * MAX_FILE_BYTES, available // 16)),
        MemoryBudget(MAX_FILE_BYTES),
        MemoryBudget(max(2 * 2**30, available // 4)),
    )


# A thread that needs several reserves them in this order, so that none waits for another for ever.
FILE_MEMORY, INFLATED_MEMORY, PIXEL_MEMORY = budgets(available_memory())


def lacks_memory(error: Exception) -> bool:
    """Return whether Python, Pillow or OpenCV could not allocate memory."""
    if isinstance(error, (OSError, cv2.error)):
        return NO_MEMORY.search(str(error)) is not None
    return isinstance(error, MemoryError)


def memory_needed(image: Image.Image, data: bytes) -> int:
    """Return the most bytes that decoding takes; a tile of a TIFF may be larger than the image.

    Refuse tiles and strips for which Pillow reports a lack of memory on any machine.
    """
    tags = getattr(image, "tag_v2", {})
    sides = [int(tags.get(tag, 0)) for tag in (TILE_WIDTH, TILE_HEIGHT)]
    tile = sides[0] * sides[1]
    if tile > MAX_PIXELS or max(sides) > MAX_TILE_SIDE:
        raise ValueError(
            f"too large (tiles of {sides[0]}x{sides[1]}; {LIMIT}, {MAX_TILE_SIDE:,} a side)"
        )
    rows = int(tags.get(ROWS_PER_STRIP, ALL_ROWS))
    converted = tags.get(PHOTOMETRIC) == YCBCR and tags.get(COMPRESSION) != JPEG
    if converted and rows != ALL_ROWS and rows * image.width > MAX_STRIP_PIXELS:
        raise ValueError(
            f"too large (strips of {image.width}x{rows}; at most {MAX_STRIP_PIXELS:,} pixels)"
        )
    pixel = NARROW
    if is_wide(image, data):
        pixel = WIDE_COLOUR if image.mode in ("RGB", "RGBA") else WIDE
    return max(image.width * image.height, tile) * pixel


def check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"too large ({width}x{height}; {LIMIT})")
    if min(width, height) < MIN_SIDE:
        raise ValueError(f"too small ({width}x{height}; at least {MIN_SIDE}x{MIN_SIDE})")


def check_frames(image: Image.Image) -> None:
    """Refuse an animation and a file of several pages; smaller copies of the first are allowed.

    They are not counted: a file of a few MB may hold a million.
    """
    several = image.format in ("GIF", "PNG") and getattr(image, "is_animated", False)
    if isinstance(image, TiffImageFile):
        with suppress(EOFError):
            for page in range(1, MAX_PAGES):
                image.seek(page)
                several = several or not image.tag_v2.get(SUBFILE_TYPE, 0) & REDUCED
            several = True
        image.seek(0)
    if several:
        raise ValueError(f"{image.format} of several frames")


def check_scans(image: Image.Image, data: bytes) -> None:
    """Refuse a JPEG that takes minutes to decode; ``data`` are the contents of its file.

    Most X-rays are grey and not progressive: decoders read only the first scan of these.
    """
    if isinstance(image, JpegImageFile) and (image.layers > 1 or image.info.get("progressive")):
        scans = sum(1 for _ in islice(SCAN.finditer(data), MAX_SCANS + 1))
        if scans > MAX_SCANS:
            raise ValueError(f"JPEG of more than {MAX_SCANS} scans")
