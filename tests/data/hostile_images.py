"""Image files made to exhaust memory or time, to run code, or to give wrong pixels silently."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000, JPEGBaseline8Bit, RLELossless

from tests.data.dicom_files import RAMP, compressed, deflated, dicom_bytes, retyped, with_elements
from tests.data.raw_images import png_bytes, png_chunk, tiff_bytes

PIXELS = RAMP.astype(np.uint8)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def eps() -> bytes:
    """Return a PostScript file, which Pillow renders by calling Ghostscript."""
    return saved(Image.fromarray(PIXELS), "EPS")


def jpeg_of_scans(scans: int) -> bytes:
    """Return a progressive JPEG whose last scan is repeated: each costs a whole decoding."""
    data = saved(Image.fromarray(PIXELS), "JPEG", progressive=True)
    last, end = data.rindex(b"\xff\xda"), len(data) - 2
    return data[:last] + data[last:end] * scans + data[end:]


def gif_of_frames(frames: int) -> bytes:
    """Return an animation of frames of one pixel, 20 bytes each."""
    data = saved(Image.fromarray(PIXELS), "GIF")
    frame = b"\x2c\0\0\0\0\1\0\1\0\0" + b"\x02\x02\x44\x01\0"
    return data[:-1] + frame * frames + data[-1:]


def png_text(megabytes: int) -> bytes:
    """Return a PNG with a comment of so many MiB, compressed to a thousandth."""
    text = zlib.compress(bytes(megabytes * 2**20), 9)
    return png_bytes(PIXELS, 0, 8, png_chunk(b"zTXt", b"Comment\0\0" + text))


def png_colours(megabytes: int) -> bytes:
    """Return a PNG with a colour profile of so many MiB, compressed to a thousandth."""
    profile = zlib.compress(bytes(megabytes * 2**20), 9)
    return png_bytes(PIXELS, 0, 8, png_chunk(b"iCCP", b"x\0\0" + profile))


def png_of_pixels(side: int) -> bytes:
    """Return a black PNG of 16 bits, about a thousandth of its pixels' size."""
    return png_bytes(np.zeros((side, side), np.uint16), 0, 16)


def tiff_of_a_strip(side: int) -> bytes:
    """Return a compressed black TIFF in one strip, which is decoded as a whole."""
    image = Image.new("L", (side, side))
    return saved(image, "TIFF", compression="tiff_lzw", tiffinfo={278: side})


def tiff_of_ycbcr(rows: int) -> bytes:
    """Return a compressed TIFF of 64x64 pixels in YCbCr that declares so many rows a strip."""
    image = Image.fromarray(np.full((64, 64, 3), 99, np.uint8))
    data = saved(image, "TIFF", compression="tiff_lzw", tiffinfo={278: 64})
    for tag, value in ((262, 6), (278, rows)):
        start = next(at for kind in (3, 4) if (at := data.find(struct.pack("<HH", tag, kind))) > 0)
        data = data[:start] + struct.pack("<HHII", tag, 4, 1, value) + data[start + 12 :]
    return data


def lookup_table(bits: int, first: int = 0) -> Dataset:
    table = Dataset()
    table.LUTDescriptor = [256, first, bits]
    table.add_new("LUTData", "US", list(range(256)))
    return table


def hostile_dicom() -> Mapping[str, bytes]:
    """Return DICOM files of which none has a picture that can be shown.

    Each differs from a right file in one place.
    """
    rescaled = dicom_bytes(RescaleSlope=1, RescaleIntercept=0, WindowCenter=5, WindowWidth=9)
    jpeg = saved(Image.fromarray(np.zeros((2000, 2000), np.uint8)), "JPEG")
    jpeg2000 = saved(Image.fromarray(np.zeros((2000, 2000), np.uint8)), "JPEG2000")
    elements: Mapping[str, tuple[str, str, object]] = {
        "slope inf": ("RescaleSlope", "LO", "inf"),
        "slope nan": ("RescaleSlope", "LO", "nan"),
        "slope of text": ("RescaleSlope", "LO", "steep"),
        "a million slopes": ("RescaleSlope", "UT", "1\\" * 2**20),
        "intercept of a sequence": ("RescaleIntercept", "SQ", [Dataset()]),
        "width nan": ("WindowWidth", "LO", "nan"),
        "width inf": ("WindowWidth", "LO", "inf"),
        "centre nan": ("WindowCenter", "LO", "nan"),
        "padding inf": ("PixelPaddingValue", "LO", "inf"),
        "rows of text": ("Rows", "LO", "16"),
        "rows of many digits": ("Rows", "UT", "1" * 60_000),
        "no rows": ("Rows", "US", None),
        "several columns": ("Columns", "US", [16, 16]),
        "0 bits": ("BitsStored", "US", 0),
        "300 bits": ("BitsStored", "US", 300),
        "13 bits allocated": ("BitsAllocated", "US", 13),
        "64 bits allocated": ("BitsAllocated", "US", 64),
        "bits of text": ("BitsStored", "LO", "a"),
        "unknown sign": ("PixelRepresentation", "US", 7),
        "9 samples": ("SamplesPerPixel", "US", 9),
        "frames of text": ("NumberOfFrames", "LO", "many"),
        "colours of a number": ("PhotometricInterpretation", "US", 3),
        "pixels of text": ("PixelData", "UT", "abc"),
        "pixels of a sequence": ("PixelData", "SQ", [Dataset()]),
    }
    tables = {"of 0 bits": lookup_table(0), "of 60000 bits": lookup_table(60_000)}
    return {
        "slope 1e308": dicom_bytes(RescaleSlope="1e308", RescaleIntercept=0),
        "slope -1e308": dicom_bytes(RescaleSlope="-1e308", RescaleIntercept=0),
        "intercept 1.7e308": dicom_bytes(RescaleSlope="1e306", RescaleIntercept="1.7e308"),
        "width 1e-320": dicom_bytes(
            WindowCenter=5, WindowWidth="1e-320", VOILUTFunction="LINEAR_EXACT"
        ),
        **{name: retyped(rescaled, *element) for name, element in elements.items()},
        **{f"modality {name}": dicom_bytes(ModalityLUTSequence=[t]) for name, t in tables.items()},
        **{f"window {name}": dicom_bytes(VOILUTSequence=[t]) for name, t in tables.items()},
        "jpeg of another size": compressed(rescaled, jpeg, JPEGBaseline8Bit),
        "jpeg 2000 of another size": compressed(rescaled, jpeg2000, JPEG2000),
        "postscript as jpeg": compressed(rescaled, eps(), JPEGBaseline8Bit),
        "broken jpeg": compressed(rescaled, jpeg[:300], JPEGBaseline8Bit),
        "broken run lengths": compressed(rescaled, bytes(100), RLELossless),
        "deflated, cut": deflated(rescaled)[:-40],
    }


def hostile_files() -> Mapping[str, bytes]:
    """Return files, by a name with the suffix that they pretend to have, that cannot be decoded."""
    return {
        "postscript.png": eps(),
        "jpeg of 1000 scans.jpeg": jpeg_of_scans(1000),
        "gif of 10000 frames.gif": gif_of_frames(10_000),
        "png with 100 MiB of text.png": png_text(100),
        "png with 100 MiB of colours.png": png_colours(100),
        "tiff of 1000 pages.tiff": tiff_bytes(PIXELS, pages=1000, tags={254: [1]}),
        "tiff of a huge tile.tiff": tiff_bytes(PIXELS, tags={322: [65_520], 323: [65_520]}),
        "tiff of zero bits.tiff": tiff_bytes(PIXELS, tags={258: [0]}),
        **{f"{name}.dcm": data for name, data in hostile_dicom().items()},
    }


def legitimate_files() -> Mapping[str, bytes]:
    """Return unusual files with the picture ``PIXELS``, which limits must not refuse."""
    progressive = saved(Image.fromarray(PIXELS), "JPEG", progressive=True, quality=100)
    return {
        "jpeg.png": saved(Image.fromarray(PIXELS), "JPEG", quality=100),
        "progressive.jpeg": progressive,
        "with text.png": png_text(0),
        "with a small copy.tiff": tiff_bytes(PIXELS, pages=2, tags={254: [1]}),
        "deflated.dcm": deflated(dicom_bytes()),
        "many elements.dcm": with_elements(dicom_bytes(), 5000),
        "steep.dcm": dicom_bytes(RescaleSlope="1e200", RescaleIntercept=0),
        "run lengths.dcm": run_lengths(),
    }


def run_lengths(segment: bytes | None = None) -> bytes:
    """Return a run-length encoded DICOM file; its only segment may be replaced."""
    if segment is not None:
        return compressed(
            dicom_bytes(), struct.pack("<16L", 1, 64, *14 * [0]) + segment, RLELossless
        )
    header = dcmread(io.BytesIO(dicom_bytes()))
    header.compress(RLELossless)
    buffer = io.BytesIO()
    header.save_as(buffer)
    return buffer.getvalue()
