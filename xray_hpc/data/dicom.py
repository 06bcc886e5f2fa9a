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


def pixels(
    header: Dataset, window: tuple[float, float] | None = None
) -> npt.NDArray[np.float32] | npt.NDArray[np.uint8]:
    """Return the picture as it should be displayed, from 0 (black) to 255 (white).

    A grey picture is ``float32 [height, width]``. The modality transform is applied, then the first
    VOI window or table (DICOM PS3.3, C.11.1 and C.11.2), or else the range of the values is scaled
    to 0..255; ``window``, two values, replaces these. ``MONOCHROME1`` is inverted, and so is the
    presentation shape ``INVERSE``, which says the same. Padding (C.7.5.1.1.2) is black. A colour
    picture is ``uint8 [height, width, 3]``.

    Raises:
        NoDecoderError: no installed package decodes its compression.
        ValueError: colours have more than 8 bits, or all is padding; the message is a short reason.
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
    padding = _padding(stored, header)
    if padding is not None and padding.all():
        raise ValueError("DICOM of padding only")
    if header.get("RescaleSlope") == 0:  # not allowed; it would make all values equal
        header.RescaleSlope = 1
    values = apply_modality_lut(stored, header)
    share = _scale(values, *window) if window else _apply_voi(values, header, padding)
    shown = np.clip(share, 0, 1) * 255
    shape = (header.PhotometricInterpretation, header.get("PresentationLUTShape"))
    if shape[0] == "MONOCHROME1" or shape[1] == "INVERSE":
        shown = 255 - shown
    if padding is not None:
        shown[padding] = 0
    return np.asarray(shown, np.float32)


def _padding(stored: npt.NDArray[Any], header: Dataset) -> npt.NDArray[np.bool_] | None:
    """Return which pixels only fill the area around the image; None if there are none.

    The two limits are stored values in either order. Some files give them as unsigned where pixels
    are signed, or with more bits than are stored.
    """
    limits = [_first(header.get(key)) for key in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if limits[0] is None:
        return None
    bits = int(header.BitsStored)
    ends = [int(value) % 2**bits for value in limits if value is not None]
    if header.PixelRepresentation == 1:
        ends = [end - 2**bits if end >= 2 ** (bits - 1) else end for end in ends]
    return np.asarray((stored >= min(ends)) & (stored <= max(ends)))


def _apply_voi(
    values: npt.NDArray[Any], header: Dataset, padding: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.float64]:
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
    used = values if padding is None else values[~padding]
    return _scale(values, float(used.min()), float(used.max()))


def _scale(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.float64]:
    return np.asarray((values - low) / max(high - low, 1e-6), np.float64)


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    return float(value) if not hasattr(value, "__len__") else _first(value[0] if value else None)
