"""Headers of DICOM files, read by pydicom (an optional dependency) without trusting them."""

from __future__ import annotations

import io
import math
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xray_hpc.count_text import format_bytes
from xray_hpc.data.decode_limits import MAX_FILE_BYTES
from xray_hpc.data.folder_index import DICOM_SUFFIXES
from xray_hpc.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
# Other elements are not kept: a header of millions would take gigabytes.
TAGS = [
    *("Rows", "Columns", "SamplesPerPixel", "PlanarConfiguration", "NumberOfFrames"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PhotometricInterpretation", "PresentationLUTShape"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
]
MAX_READS = 200_000  # of pydicom, three for an element; X-rays have hundreds of elements
MAX_VALUE_BYTES = 2**20  # of an element other than the pixels; a table of 16 bits has 128 KiB
META_START = 144  # after the length of the file meta information (DICOM PS3.10, 7.1)
PIXEL_DATA = 0x7FE00010
DEFLATED, RUN_LENGTH = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"


class NoDecoderError(DataError):
    """A package that reads the file is not installed; the message names it."""


class _Reader(io.BytesIO):
    """The contents of a DICOM file, of which pydicom may read so many elements."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > MAX_READS:
            raise ValueError(f"DICOM with more than {MAX_READS // 3:,} header elements")
        if size is None or size < 0:  # pydicom would inflate all that follows
            raise ValueError("deflated DICOM without the length of its file meta information")
        return super().read(size)


def is_dicom(data: bytes, path: Path) -> bool:
    """Return whether the contents or the name of a file identify it as DICOM."""
    return data[128:132] == b"DICM" or path.suffix.lower() in DICOM_SUFFIXES


def is_deflated(data: bytes) -> bool:
    """Return whether the elements of a DICOM file are compressed as a whole."""
    return DEFLATED.encode() in data[META_START : _meta_end(data)]


def _meta_end(data: bytes) -> int:
    return META_START + int.from_bytes(data[META_START - 4 : META_START], "little")


def read_header(data: bytes) -> Dataset:
    """Parse the elements that describe the one picture of a file.

    A ``ValueError`` has a short reason as its message.
    """
    try:
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError
        from pydicom.filereader import read_dataset
        from pydicom.tag import Tag
        from pydicom.uid import ExplicitVRLittleEndian
    except ImportError as error:
        raise NoDecoderError("DICOM needs pydicom: pip install pydicom") from error
    tags: list[Any] = [Tag(name) for name in TAGS]
    try:
        if is_deflated(data):
            end = _meta_end(data)
            meta = dcmread(_Reader(data[:end])).file_meta
            inflated = _Reader(_inflate(data[end:]))
            header = read_dataset(inflated, False, True, specific_tags=tags)
            header.file_meta = meta
            header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian  # of what was inflated
        else:
            header = dcmread(_Reader(data), specific_tags=tags)
    except InvalidDicomError as error:
        raise ValueError("not a DICOM file") from error
    if not all(key in header for key in ("Rows", "Columns", "PixelData")):
        raise ValueError("DICOM without a picture")
    _check_elements(header)
    if "TransferSyntaxUID" not in header.file_meta:
        raise ValueError("DICOM without a transfer syntax")
    if (frames := first_value(header, "NumberOfFrames") or 1) > 1:
        raise ValueError(f"DICOM of {frames:.0f} frames")
    if header.get("PhotometricInterpretation") not in (*GREY, *COLOUR):
        raise ValueError(f"DICOM in {header.get('PhotometricInterpretation') or 'unknown colours'}")
    return header


def _inflate(data: bytes) -> bytes:
    """Decompress the elements of a deflated file (DICOM PS3.5, A.5)."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(data, MAX_FILE_BYTES)
    if inflater.unconsumed_tail:
        raise ValueError(f"deflated DICOM of more than {format_bytes(MAX_FILE_BYTES)}")
    return inflated


def _check_elements(header: Dataset) -> None:
    """Refuse values that pydicom would convert to gigabytes of numbers or texts."""
    for element in header.elements():
        if element.tag == PIXEL_DATA:
            if element.VR not in (None, "OB", "OW", "OB or OW", "UN"):
                raise ValueError(f"DICOM with pixels of the type {element.VR}")
            continue
        value: Any = element.value
        if hasattr(value, "__len__") and len(value) > MAX_VALUE_BYTES:
            size, most = format_bytes(len(value)), format_bytes(MAX_VALUE_BYTES)
            raise ValueError(f"DICOM with {size} in {element.tag}; at most {most}")


def picture_size(header: Dataset) -> tuple[int, int]:
    """Return the width and height of the picture; a ``ValueError`` has a short reason."""
    width, height = header.Columns, header.Rows
    if not isinstance(width, int) or not isinstance(height, int):
        raise ValueError(f"DICOM with {height!r} rows and {width!r} columns")
    return width, height


def first_value(header: Dataset, key: str) -> float | None:
    """Return the first number of an element; None if there is none.

    A ``ValueError`` has a short reason.
    """
    value: Any = header.get(key)
    if hasattr(value, "__len__") and not isinstance(value, str):
        value = value[0] if value else None
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"DICOM with a {key} of {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"DICOM with a {key} of {number}")
    return number
