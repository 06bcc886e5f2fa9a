"""DICOM files, read by pydicom (an optional dependency)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xray_hpc.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = (".dcm", ".dicom")
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


class NoDecoderError(DataError):
    """A package that reads the file is not installed; the message names it."""


def is_dicom(data: bytes, path: Path) -> bool:
    """Return whether the contents or the name of a file identify it as DICOM."""
    return data[128:132] == b"DICM" or path.suffix.lower() in SUFFIXES


def read_header(data: bytes) -> Dataset:
    """Parse the contents of a file with one picture; ``Rows`` and ``Columns`` are its size.

    A ``ValueError`` has a short reason as its message.
    """
    try:
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError
    except ImportError as error:
        raise NoDecoderError("DICOM needs pydicom: pip install pydicom") from error
    try:
        header = dcmread(io.BytesIO(data))
    except InvalidDicomError as error:
        raise ValueError("not a DICOM file") from error
    if not all(key in header for key in ("Rows", "Columns", "PixelData")):
        raise ValueError("DICOM without a picture")
    if (frames := int(header.get("NumberOfFrames") or 1)) > 1:
        raise ValueError(f"DICOM of {frames} frames")
    if header.get("PhotometricInterpretation") not in (*GREY, *COLOUR):
        raise ValueError(f"DICOM in {header.get('PhotometricInterpretation') or 'unknown colours'}")
    return header


def pixels(header: Dataset) -> npt.NDArray[np.float32] | npt.NDArray[np.uint8]:
    """Return the picture as it should be displayed, from 0 (black) to 255 (white).

    A grey picture is ``float32 [height, width]``. The modality transform is applied, then the first
    VOI window or table (DICOM PS3.3, C.11.1 and C.11.2), or else the range of the values is scaled
    to 0..255. ``MONOCHROME1`` is inverted. A colour picture is ``uint8 [height, width, 3]``.

    Raises:
        NoDecoderError: no installed package decodes its compression.
        ValueError: colours have more than 8 bits; the message is a short reason.
    """
    from pydicom.pixels.processing import apply_modality_lut
    from pydicom.pixels.utils import pixel_array

    try:
        stored = pixel_array(header)
    except (RuntimeError, NotImplementedError) as error:
        how = header.file_meta.TransferSyntaxUID.name
        raise NoDecoderError(
            f"compressed DICOM ({how}) that cannot be decoded here; pip install 'pylibjpeg[all]'"
        ) from error
    if stored.ndim == 3:
        if stored.dtype != np.uint8:
            raise ValueError(f"DICOM in colours of {stored.dtype.itemsize * 8} bits")
        return np.asarray(stored, np.uint8)
    shown = _apply_voi(apply_modality_lut(stored, header), header)
    share = np.clip(shown, 0, 1) * 255
    inverted = header.PhotometricInterpretation == "MONOCHROME1"
    return np.asarray(255 - share if inverted else share, np.float32)


def _apply_voi(values: npt.NDArray[Any], header: Dataset) -> npt.NDArray[np.float64]:
    """Apply the VOI transform; 0 is black and 1 is white."""
    from pydicom.pixels.processing import apply_voi

    if header.get("VOILUTSequence"):
        table = apply_voi(np.rint(values).astype(np.int32), header)
        return np.asarray(table / (2.0 ** header.VOILUTSequence[0].LUTDescriptor[2] - 1))
    centre, width = (_first(header.get(key)) for key in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None and width > 0:
        function = header.get("VOILUTFunction") or "LINEAR"
        if function == "SIGMOID":
            return np.asarray(1 / (1 + np.exp(-4 * (values - centre) / width)))
        if function == "LINEAR_EXACT":
            return np.asarray((values - centre) / width + 0.5)
        return np.asarray((values - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5)
    low, high = float(values.min()), float(values.max())
    return (values - low) / max(high - low, 1e-6)


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    return float(value) if not hasattr(value, "__len__") else _first(value[0] if value else None)
