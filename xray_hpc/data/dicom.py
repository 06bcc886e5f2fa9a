"""Pictures of DICOM files, decoded by pydicom (an optional dependency)."""

from __future__ import annotations

import io
import logging
import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from xray_hpc.data.decode_limits import check_scans, lacks_memory
from xray_hpc.data.dicom_header import RUN_LENGTH, NoDecoderError, first_value

if TYPE_CHECKING:
    from pydicom import Dataset


RUN_LENGTH_HEADER = 64  # bytes
MOST_EXPANDED = 2  # times the picture; encoders pad a segment with a byte, some with more


class _MemoryFilter(logging.Filter):
    """Raise the lack of memory of a decoder, which pydicom logs and then reports as damage."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Exception) and lacks_memory(error):
            raise error
        return True


logging.getLogger("pydicom.pixels.decoders.base").addFilter(_MemoryFilter())


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
        ValueError: colours have more than 8 bits, all is padding, or pixels or header are damaged;
            the message is a short reason.
    """
    stored = _stored_values(header)
    if stored.ndim == 3:
        if stored.dtype != np.uint8:
            raise ValueError(f"DICOM in colours of {stored.dtype.itemsize * 8} bits")
        return np.asarray(stored, np.uint8)
    padding = _padding(stored, header)
    if padding is not None and padding.all():
        raise ValueError("DICOM of padding only")
    with np.errstate(all="ignore"):  # what overflows is not finite in the end
        values = _rescale(stored, header)
        share = _scale(values, *window) if window else _apply_voi(values, header, padding)
        del stored, values
    if not np.isfinite(share).all():
        raise ValueError("DICOM with grey values that overflow")
    np.clip(share, 0, 1, out=share)
    share *= 255
    shape = (header.PhotometricInterpretation, header.get("PresentationLUTShape"))
    if shape[0] == "MONOCHROME1" or shape[1] == "INVERSE":
        np.subtract(255, share, out=share)
    if padding is not None:
        share[padding] = 0
    return np.asarray(share, np.float32)


def _stored_values(header: Dataset) -> npt.NDArray[Any]:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import JPEGExtended12Bit

    syntax = header.file_meta.TransferSyntaxUID
    try:
        missing = not get_decoder(syntax).is_available
    except NotImplementedError:
        missing = True
    if syntax == JPEGExtended12Bit and header.BitsStored != 8:  # Pillow's decoder has 8 bits only
        missing = True
    if syntax.is_encapsulated:
        (_check_run_lengths if syntax == RUN_LENGTH else _check_frame)(header)
    try:
        return pixel_array(header)
    except (RuntimeError, NotImplementedError) as error:
        if not missing:
            raise ValueError(f"DICOM with damaged {syntax.name}") from error
        raise NoDecoderError(
            f"compressed DICOM ({syntax.name}) that cannot be decoded here; "
            "pip install 'pylibjpeg[all]'"
        ) from error


def _check_frame(header: Dataset) -> None:
    """Refuse compressed pixels of another size than the header's, which decoders would allocate.

    Pillow does not know all kinds of JPEG; the others are left to their decoders.
    """
    from pydicom.encaps import get_frame

    frame = get_frame(header.PixelData, 0, number_of_frames=1)
    try:
        with Image.open(io.BytesIO(frame), formats=("JPEG", "JPEG2000")) as image:
            width, height = image.size
            check_scans(image, frame)
    except UnidentifiedImageError:
        return
    if (width, height) != (header.Columns, header.Rows):
        raise ValueError(f"DICOM with compressed pixels of {width}x{height}")


def _check_run_lengths(header: Dataset) -> None:
    """Refuse segments (DICOM PS3.5, G.5) that are much larger than a byte of each pixel.

    pydicom would expand them, to up to 64 times their size, before it looks at their number.
    """
    from pydicom.encaps import get_frame

    frame = get_frame(header.PixelData, 0, number_of_frames=1)
    if len(frame) < RUN_LENGTH_HEADER:
        raise ValueError("DICOM with damaged RLE Lossless")
    count, *offsets = struct.unpack_from("<16L", frame)
    most = MOST_EXPANDED * header.Rows * header.Columns
    for start, end in pairwise([*offsets[:count], len(frame)]):
        if not _expands_within(frame[start:end], most):
            size = f"{header.Columns}x{header.Rows}"
            raise ValueError(f"DICOM with more run-length encoded pixels than {size}")


def _expands_within(segment: bytes, most: int) -> bool:
    """Return whether a run-length encoded segment has at most so many bytes when it is expanded."""
    if len(segment) > 2 * most:  # a run takes at most two for one
        return False
    size = position = 0
    while position < len(segment) and size <= most:
        code = segment[position]
        if code < 128:  # that many literal bytes and one more follow
            size += code + 1
            position += code + 2
        else:  # the next byte is repeated; 128 means nothing
            size += (257 - code) % 129
            position += 1 + (code > 128)
    return size <= most


def _rescale(stored: npt.NDArray[Any], header: Dataset) -> npt.NDArray[Any]:
    """Apply the modality transform; without one, return the stored values."""
    from pydicom.pixels.processing import apply_modality_lut

    if header.get("ModalityLUTSequence"):
        return apply_modality_lut(stored, header)
    slope, intercept = (first_value(header, key) for key in ("RescaleSlope", "RescaleIntercept"))
    if slope is None or intercept is None:
        return stored
    values = stored.astype(np.float64)
    values *= slope or 1  # zero is not allowed; it would make all values equal
    values += intercept
    if not np.isfinite(values).all():
        raise ValueError(f"DICOM with values that overflow (rescale slope {slope:g})")
    return values


def _padding(stored: npt.NDArray[Any], header: Dataset) -> npt.NDArray[np.bool_] | None:
    """Return which pixels only fill the area around the image; None if there are none.

    The two limits are stored values in either order. Some files give them as unsigned where pixels
    are signed, or with more bits than are stored.
    """
    limits = [first_value(header, key) for key in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
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
        whole = np.clip(np.rint(values), -(2**31), 2**31 - 1).astype(np.int32)
        table = apply_voi(whole, header)
        return np.asarray(table / (2.0 ** header.VOILUTSequence[0].LUTDescriptor[2] - 1))
    centre, width = (first_value(header, key) for key in ("WindowCenter", "WindowWidth"))
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
    scaled: npt.NDArray[np.float64] = np.subtract(values, low, dtype=np.float64)
    scaled /= max(high - low, 1e-6)
    return scaled
