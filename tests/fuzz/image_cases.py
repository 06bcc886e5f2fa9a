"""Score hostile images beside a good one."""

from __future__ import annotations

import functools
import gzip
import io
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from tests.data.hostile_images import hostile_files
from tests.data.raw_images import png_bytes, png_chunk, ramp, tiff_bytes
from tests.data.test_dicom import write as write_dicom
from tests.fuzz.value_edits import ESCAPES

Change = Callable[[bytes, Random], bytes]
GOOD = "good.png"
GREY = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))
PS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n(/tmp/x) (w) file\nshowpage\n"
MAGIC = {
    "eps": PS,
    "pdf": b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n",
    "html": b"<html><script>alert(1)</script></html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "xpm": b'/* XPM */\nstatic char *x[] = {"16 16 1 1", "a c #000000"};\n',
    "fits": b"SIMPLE  =                    T".ljust(2880),
    "zip": b"PK\x03\x04" + bytes(100),
    "psd": b"8BPS\0\1" + bytes(60),
    "wmf": b"\xd7\xcd\xc6\x9a" + bytes(80),
    "dicom prefix": bytes(128) + b"DICM",
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100),
}
SUFFIXES = (".png", ".jpg", ".bmp", ".gif", ".tif", ".dcm", ".ima")
NAMES = (
    *("=1+1.png", "@x.png", "-x.png", "+x.png", "a,b.png", '"q".png', "a\nb.png", "a\tb.png"),
    *(f"x{ESCAPES}.png", "\u202egnp.x.png", "x" * 251 + ".png", "é" * 125 + ".png", " .png"),
    *(os.fsdecode(b"\xff\xfe.png"), "\x01.png", "-o.png", "$(touch hit).png", "`x`.png", "\r.png"),
)


@dataclass(frozen=True)
class ImageCase:
    """A hostile image.

    Attributes:
        group: The row of the table.
        name: What it is.
        make: Writes it into a folder, and returns its path, or that of the folder with it.
        original: The name in ``seeds()`` of the good image that it is a copy of.
    """

    group: str
    name: str
    make: Callable[[Path, Random], Path]
    original: str | None = None


def image_cases() -> list[ImageCase]:
    """Return all cases; those of damage make another choice at each number."""
    return [*_damaged(), *_foreign(), *_large(), *_special(), *_names(), *_dicom()]


@functools.cache
def seeds() -> dict[str, bytes]:
    """Return a good image of each format, by file name."""
    made: dict[str, bytes] = {}
    for suffix, form in {"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "gif": "GIF"}.items():
        file = io.BytesIO()
        Image.fromarray(GREY).save(file, form)
        made[f"grey.{suffix}"] = file.getvalue()
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg", "group4"):
        file = io.BytesIO()
        image = Image.fromarray(GREY).convert("1" if compression == "group4" else "L")
        image.save(file, "TIFF", compression=compression)
        made[f"{compression}.tif"] = file.getvalue()
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GREY).save(file, "JPEG", exif=exif, progressive=True)
    made["exif.jpg"] = file.getvalue()
    made["raw.tif"] = tiff_bytes(ramp(12))
    made["wide.png"] = png_bytes(ramp(16), 0, 16)
    return made


def _write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _changes() -> dict[str, Change]:
    def flip(data: bytes, random: Random, count: int, end: int) -> bytes:
        changed = bytearray(data)
        for _ in range(count):
            changed[random.randrange(min(end, len(changed)))] = random.choice((0, 1, 255, 128, 127))
        return bytes(changed)

    return {
        "cut": lambda data, random: data[: random.randrange(len(data))],
        "a byte changed": lambda data, random: flip(data, random, 1, len(data)),
        "bytes changed": lambda data, random: flip(data, random, 20, len(data)),
        "header changed": lambda data, random: flip(data, random, 2, 64),
        "header of 255": lambda data, random: data[:8] + b"\xff" * 24 + data[32:],
        "twice": lambda data, random: data + data,
        "a part repeated": lambda data, random: (
            data[: len(data) // 2] + data[len(data) // 4 :] * random.randrange(2, 20)
        ),
    }


def _damaged() -> Iterator[ImageCase]:
    for name, data in seeds().items():
        for change, apply in _changes().items():

            def make(
                folder: Path,
                random: Random,
                name: str = name,
                data: bytes = data,
                apply: Change = apply,
            ) -> Path:
                return _write(folder, name, apply(data, random))

            yield ImageCase("damaged", f"{name} {change}", make)


def _foreign() -> Iterator[ImageCase]:
    contents = MAGIC | seeds()
    for form in ("WEBP", "ICO", "PPM", "TGA", "PCX", "SGI", "ICNS", "PDF", "MPO", "JPEG2000"):
        file = io.BytesIO()
        try:
            Image.fromarray(GREY).save(file, form)
        except (KeyError, OSError, ValueError):
            continue
        contents[form] = file.getvalue()
    for kind, data in contents.items():
        for suffix in SUFFIXES:

            def make(
                folder: Path, random: Random, data: bytes = data, suffix: str = suffix
            ) -> Path:
                return _write(folder, f"x{suffix}", data)

            original = kind if kind in seeds() and suffix not in (".dcm", ".ima") else None
            group = "other format than the suffix"
            yield ImageCase(group, f"{kind} in x{suffix}", make, original)


def _large() -> Iterator[ImageCase]:
    def png(width: int, height: int, bits: int, data: bytes, colour: int = 0) -> bytes:
        header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")

    zeros = functools.cache(lambda: zlib.compress(bytes(80 << 20)))
    size = struct.pack("<IHHIIiiHHIIIIII", 2**31, 0, 0, 54, 40, 2**30, 2**30, 1, 8, *[0] * 6)
    bombs: dict[str, Callable[[], bytes]] = {
        "100,000 pixels square.png": lambda: png(100_000, 100_000, 8, zeros()),
        "9,400 pixels square.png": lambda: png(9400, 9400, 8, zeros()),
        "9,400 pixels square, 16 bits.png": lambda: png(9400, 9400, 16, zeros()),
        "2^31 pixels wide.png": lambda: png(2**31 - 1, 1, 8, zeros()),
        "0 pixels.png": lambda: png(0, 0, 8, zeros()),
        "1 pixel high.png": lambda: png(80_000_000, 1, 8, zeros()),
        "small, with much data.png": lambda: png(16, 16, 8, zeros()),
        "65,535 pixels square.gif": lambda: b"GIF89a" + b"\xff" * 4 + bytes(20),
        "65,535 pixels square.jpg": lambda: seeds()["grey.jpg"].replace(
            b"\0\x20\0\x20\x01", b"\xff\xff\xff\xff\x01"
        ),
        "header of 2 GB.bmp": lambda: b"BM" + size,
        "gzip.png": lambda: gzip.compress(bytes(50 << 20)),
    }
    for name, data in bombs.items():

        def make(
            folder: Path, random: Random, name: str = name, data: Callable[[], bytes] = data
        ) -> Path:
            return _write(folder, name, data())

        yield ImageCase("large, or made to harm", name, make)
    for name, content in hostile_files().items():

        def known(folder: Path, random: Random, name: str = name, content: bytes = content) -> Path:
            return _write(folder, name, content)

        yield ImageCase("large, or made to harm", name, known)
    for tag in (256, 257, 258, 262, 273, 277, 278, 279, 322, 323, 338):
        for value in (0, 1, 65535):

            def tiff(folder: Path, random: Random, tag: int = tag, value: int = value) -> Path:
                return _write(folder, "x.tif", tiff_bytes(ramp(16), tags={tag: [value]}))

            yield ImageCase("large, or made to harm", f"TIFF tag {tag} of {value}", tiff)


def _special() -> Iterator[ImageCase]:
    def sparse(path: Path) -> None:
        path.touch()
        os.truncate(path, 40 << 30)

    kinds: dict[str, Callable[[Path], object]] = {
        "a FIFO": os.mkfifo,
        "40 GB, sparse": sparse,
        "a folder": lambda path: path.mkdir(),
        "a link to itself": lambda path: path.symlink_to(path.name),
        "a link to nothing": lambda path: path.symlink_to("nothing"),
        "a link to a device": lambda path: path.symlink_to("/dev/zero"),
        "a link to /dev/stdin": lambda path: path.symlink_to("/dev/stdin"),
        "empty": lambda path: path.touch(),
    }
    for kind, create in kinds.items():
        for suffix in SUFFIXES:
            for folder_given in (False, True):

                def make(
                    folder: Path,
                    random: Random,
                    create: Callable[[Path], object] = create,
                    suffix: str = suffix,
                    inside: bool = folder_given,
                ) -> Path:
                    path = folder / "given" / f"x{suffix}"
                    path.parent.mkdir()
                    create(path)
                    return path.parent if inside else path

                where = "in a folder" if folder_given else "named"
                yield ImageCase("special files", f"{kind} as x{suffix}, {where}", make)


def _names() -> Iterator[ImageCase]:
    for name in NAMES:
        for inside in (False, True):

            def make(folder: Path, random: Random, name: str = name, inside: bool = inside) -> Path:
                path = folder / "given" / name
                path.parent.mkdir()
                shutil.copy(folder / GOOD, path)
                return path.parent if inside else path

            where = " in a folder" if inside else ""
            yield ImageCase("names", f"{name[:40]!r}{where}", make, "grey.png")


def _dicom() -> Iterator[ImageCase]:
    values: tuple[object, ...] = (
        *(1e308, -1e308, 0, 1, -1, 65535, 10**9, "", None, "x", f"x{ESCAPES}", "\\".join("12345")),
        *([1e308, 1e308], [0] * 5, 1e-300),
    )
    tags = (
        *("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "Rows", "Columns"),
        *("BitsStored", "HighBit", "BitsAllocated", "SamplesPerPixel", "PixelRepresentation"),
        *("PhotometricInterpretation", "NumberOfFrames", "PixelPaddingValue", "VOILUTFunction"),
        *("PatientName", "SmallestImagePixelValue", "LossyImageCompression"),
    )
    for tag in tags:
        for value in values:

            def make(folder: Path, random: Random, tag: str = tag, value: object = value) -> Path:
                path = write_dicom(folder / "x.dcm", ramp(12).astype(float), 12)
                _set_tag(path, tag, value)
                return path

            yield ImageCase("DICOM", f"{tag} of {value!r}"[:60], make)
    for change, apply in _changes().items():

        def damage(folder: Path, random: Random, apply: Change = apply) -> Path:
            path = write_dicom(folder / "x.dcm", ramp(12).astype(float), 12)
            path.write_bytes(apply(path.read_bytes(), random))
            return path

        yield ImageCase("DICOM", change, damage)


def _set_tag(path: Path, tag: str, value: object) -> None:
    """Set a tag of a DICOM file; one that pydicom refuses to write is left as it is."""
    import warnings

    from pydicom import config, dcmread

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config.settings.writing_validation_mode = config.IGNORE
        header = dcmread(path)
        before = path.read_bytes()
        try:
            setattr(header, tag, value)
            header.save_as(path, enforce_file_format=False)
        except Exception:
            path.write_bytes(before)
