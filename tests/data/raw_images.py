"""Image files written byte by byte, for what Pillow reads but does not write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

SIDE = 16
RAMP = np.tile(np.linspace(0, 255, SIDE).round().astype(np.uint8), (SIDE, 1))
"""Grey levels 0, 17, ..., 255 from left to right, which 4 bits hold too."""

FORMATS = {"u": 1, "i": 2, "f": 3}


def ramp(bits: int, dtype: str = "u2") -> np.ndarray:
    """Return ``RAMP`` scaled to a number of bits."""
    return np.asarray((RAMP / 255 * (2**bits - 1)).round(), dtype)


def colours(grey: np.ndarray) -> np.ndarray:
    return np.dstack([grey] * 3)


def pack(values: np.ndarray, bits: int) -> bytes:
    """Store values of any number of bits without gaps; a row of them must fill whole bytes."""
    text = "".join(f"{int(value):0{bits}b}" for value in values.ravel())
    return int(text, 2).to_bytes(len(text) // 8, "big")


def tiff_bytes(
    pixels: np.ndarray,
    photometric: int = 1,
    *,
    order: Literal["<", ">"] = "<",
    bits: int | None = None,
    planes: bool = False,
    tags: Mapping[int, Sequence[int]] | None = None,
    pages: int = 1,
) -> bytes:
    """Return a TIFF file without compression.

    Args:
        pixels: ``[H, W]`` or ``[H, W, C]``.
        photometric: 0: white is zero, 1: black is zero, 2: RGB.
        order: ``<`` or ``>``, the byte order.
        bits: of each sample, if not those of its type.
        planes: store each colour as a plane.
        tags: further tags, each of short integers.
        pages: how often the image is in the file; the later ones have no further tags.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    layout = np.moveaxis(pixels, 2, 0) if planes else pixels
    typed = layout.astype(pixels.dtype.newbyteorder(order))
    data = pack(pixels, bits) if bits else typed.tobytes()
    strips = channels if planes else 1
    blob = bytearray((b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8))
    for page in range(pages):
        entries: dict[int, tuple[str, Sequence[int]]] = {
            256: ("I", [width]),
            257: ("I", [height]),
            258: ("H", [bits or 8 * pixels.dtype.itemsize] * channels),
            259: ("H", [1]),
            262: ("H", [photometric]),
            273: ("I", [0] * strips),
            277: ("H", [channels]),
            278: ("I", [height]),
            279: ("I", [len(data) // strips] * strips),
            284: ("H", [2 if planes else 1]),
            339: ("H", [FORMATS[pixels.dtype.kind]] * channels),
        }
        for tag, values in (tags or {}).items() if page in (0, pages - 1) else ():
            if (tag == 254) == (page > 0):  # the kind of page is a tag of the last one
                entries[tag] = ("H", values)
        directory = len(blob)
        beyond = directory + 2 + 12 * len(entries) + 4
        sizes = {t: struct.calcsize(f"{order}{k}") * len(v) for t, (k, v) in entries.items()}
        first = beyond + sum(size for size in sizes.values() if size > 4)
        entries[273] = ("I", [first + i * len(data) // strips for i in range(strips)])
        table, outside = b"", b""
        for tag, (kind, values) in sorted(entries.items()):
            value = struct.pack(f"{order}{len(values)}{kind}", *values)
            if len(value) > 4:
                value, outside = (
                    struct.pack(f"{order}I", beyond + len(outside)),
                    outside + value,
                )
            table += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[kind], len(values))
            table += value.ljust(4, b"\0")
        following = 0 if page == pages - 1 else first + len(data)
        blob += struct.pack(f"{order}H", len(entries)) + table
        blob += struct.pack(f"{order}I", following) + outside + data
    return bytes(blob)


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_bytes(pixels: np.ndarray, colour_type: int, bits: int, *chunks: bytes) -> bytes:
    """Return a PNG file; ``chunks`` come before the pixels.

    ``colour_type`` is 0 (grey), 2 (RGB), 3 (palette), 4 (grey and alpha) or 6 (RGB and alpha).
    """
    height, width = pixels.shape[:2]
    rows = [row.astype(">u2").tobytes() if bits == 16 else pack(row, bits) for row in pixels]
    head = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = (png_chunk(b"IHDR", head), *chunks, png_chunk(b"IDAT", body), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
