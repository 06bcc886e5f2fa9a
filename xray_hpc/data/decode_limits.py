"""Limits on what decoding an untrusted image may read, allocate and compute."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from xray_hpc.data.grey_levels import is_wide

# Pillow's own limit, about 9,400 pixels square; X-rays have less than a third of that.
MAX_PIXELS = 89_478_485
MIN_SIDE = 8
# An uncompressed X-ray of MAX_PIXELS and 16 bits has 171 MiB.
MAX_FILE_BYTES = 256 * 2**20
# A JPEG encoder writes about 10 scans; each takes as long as decoding a whole image.
MAX_SCANS, SCAN = 100, re.compile(b"\xff\xda")
MAX_PAGES = 32  # of a TIFF that are read to find out whether all are smaller copies of the first
SUBFILE_TYPE, REDUCED, TILE_WIDTH, TILE_HEIGHT = 254, 1, 322, 323  # TIFF
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


# The memory of all threads that decode does not grow with the cores of a node. A thread that needs
# several of these reserves them in this order, so that none waits for another for ever.
FILE_MEMORY = MemoryBudget(2 * MAX_FILE_BYTES)
INFLATED_MEMORY = MemoryBudget(MAX_FILE_BYTES)  # one deflated DICOM file at a time: they are rare
PIXEL_MEMORY = MemoryBudget(2 * 2**30)


def memory_needed(image: Image.Image, data: bytes) -> int:
    """Return the most bytes that decoding takes; a tile of a TIFF may be larger than the image."""
    tags = getattr(image, "tag_v2", {})
    tile = int(tags.get(TILE_WIDTH, 0)) * int(tags.get(TILE_HEIGHT, 0))
    if tile > MAX_PIXELS:
        raise ValueError(f"too large ({tile:,} pixels a tile)")
    pixel = NARROW
    if is_wide(image, data):
        pixel = WIDE_COLOUR if image.mode in ("RGB", "RGBA") else WIDE
    return max(image.width * image.height, tile) * pixel


def check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"too large ({width}x{height})")
    if min(width, height) < MIN_SIDE:
        raise ValueError(f"too small ({width}x{height})")


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

    Of a grey one that is not progressive, which most X-rays are, decoders read one scan.
    """
    if isinstance(image, JpegImageFile) and (image.layers > 1 or image.info.get("progressive")):
        scans = sum(1 for _ in islice(SCAN.finditer(data), MAX_SCANS + 1))
        if scans > MAX_SCANS:
            raise ValueError(f"JPEG of more than {MAX_SCANS} scans")
