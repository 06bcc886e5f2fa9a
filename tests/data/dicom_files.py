"""DICOM files, written by pydicom."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    generate_uid,
)

SIDE = 16
RAMP = np.tile(np.linspace(0, 255, SIDE).round(), (SIDE, 1))


def dicom_bytes(pixels: np.ndarray = RAMP, bits: int = 8, **tags: Any) -> bytes:
    """Return an X-ray with ``bits`` stored bits and additional header ``tags``."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = DigitalXRayImageStorageForPresentation
    header.SOPInstanceUID = generate_uid()
    header.Rows, header.Columns = pixels.shape[:2]
    header.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    header.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        header.PlanarConfiguration = 0
    header.BitsStored, header.BitsAllocated = bits, 8 if bits <= 8 else 16
    header.HighBit = bits - 1
    header.PixelRepresentation = int(pixels.min() < 0)
    kind = np.dtype(f"<{'i' if pixels.min() < 0 else 'u'}{header.BitsAllocated // 8}")
    header.PixelData = pixels.round().astype(kind).tobytes()
    for key, value in tags.items():
        setattr(header, key, value)
    return _saved(header)


def retyped(data: bytes, keyword: str, kind: str, value: Any) -> bytes:
    """Return a file in which an element has the type ``kind``, as ``LO``, and any value."""
    header = dcmread(io.BytesIO(data))
    header.add_new(keyword, kind, value)
    return _saved(header)


def compressed(data: bytes, frame: bytes, syntax: str) -> bytes:
    """Return a file with ``frame`` as its compressed pixels."""
    header = dcmread(io.BytesIO(data))
    header.file_meta.TransferSyntaxUID = syntax
    header.PixelData = encapsulate([frame])
    header["PixelData"].VR = "OB"
    return _saved(header)


def deflated(data: bytes, zeros: int = 0) -> bytes:
    """Return a file whose elements are compressed as a whole, with so many zeros after the pixels.

    A thousand zeros become one byte.
    """
    header = dcmread(io.BytesIO(data))
    header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    if zeros:
        header.add_new(0x7FE11010, "OB", bytes(zeros))
    return _saved(header)


def with_elements(data: bytes, count: int) -> bytes:
    """Return a file with ``count`` more elements, of a private group before the pixels."""
    start = data.index(b"\xe0\x7f\x10\x00")
    more = (b"\x09\x00" + (4096 + k).to_bytes(2, "little") + b"LO\0\0" for k in range(count))
    return data[:start] + b"".join(more) + data[start:]


def _saved(header: Dataset) -> bytes:
    buffer = io.BytesIO()
    header.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
