"""Decode DICOM files written by pydicom."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLosslessSV1, RLELossless

from tests.data.dicom_files import RAMP, SIDE, compressed, dicom_bytes
from xray_hpc.data.decode import UnreadableImageError, decode
from xray_hpc.data.decode_limits import LIMIT


def write(path: Path, pixels: np.ndarray, bits: int = 16, **tags: Any) -> Path:
    """Write an X-ray with ``bits`` stored bits and additional header ``tags``."""
    path.write_bytes(dicom_bytes(pixels, bits, **tags))
    return path


def row(path: Path) -> np.ndarray:
    """Return one row of the decoded picture."""
    return decode(path, SIDE, 1)[3, :, 0].astype(int)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_bit_depth_is_scaled_to_8_bit(tmp_path: Path, bits: int, channels: int) -> None:
    path = write(tmp_path / "x.dcm", RAMP * (2**bits - 1) / 255, bits)
    pixels = decode(path, SIDE, channels)
    assert pixels.shape == (SIDE, SIDE, channels)
    np.testing.assert_allclose(pixels[:, :, -1], RAMP, atol=1)


def test_without_window_the_value_range_is_scaled(tmp_path: Path) -> None:
    np.testing.assert_array_equal(row(write(tmp_path / "x.dcm", 300 + 4 * RAMP, 12)), RAMP[0])


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", 255 - RAMP, 8, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(row(path), RAMP[0])


def test_window_sets_black_and_white(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", 16 * RAMP, 12, WindowCenter=2048, WindowWidth=1024)
    expected = np.clip((16 * RAMP[0] - 2047.5) / 1023 + 0.5, 0, 1) * 255
    np.testing.assert_allclose(row(path), expected, atol=0.51)


def test_first_of_several_windows_is_used(tmp_path: Path) -> None:
    one = write(tmp_path / "one.dcm", 16 * RAMP, 12, WindowCenter=900, WindowWidth=1600)
    both = {"WindowCenter": [900, 3000], "WindowWidth": [1600, 100]}
    np.testing.assert_array_equal(row(one), row(write(tmp_path / "x.dcm", 16 * RAMP, 12, **both)))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("LINEAR_EXACT", lambda x: np.clip((x - 2048) / 1024 + 0.5, 0, 1)),
        ("SIGMOID", lambda x: 1 / (1 + np.exp(-4 * (x - 2048) / 1024))),
    ],
)
def test_window_function(tmp_path: Path, function: str, expected: Any) -> None:
    window = {"WindowCenter": 2048, "WindowWidth": 1024, "VOILUTFunction": function}
    path = write(tmp_path / "x.dcm", 16 * RAMP, 12, **window)
    np.testing.assert_allclose(row(path), 255 * expected(16 * RAMP[0]), atol=0.51)


@pytest.mark.parametrize("width", [0, -5, ""])
def test_window_without_width_is_ignored(tmp_path: Path, width: object) -> None:
    path = write(tmp_path / "x.dcm", 16 * RAMP, 12, WindowCenter=100, WindowWidth=width)
    np.testing.assert_array_equal(row(path), RAMP[0])


def test_window_applies_to_rescaled_values(tmp_path: Path) -> None:
    scale = {"RescaleSlope": 2, "RescaleIntercept": -1000}
    window = {"WindowCenter": 500, "WindowWidth": 1000}
    path = write(tmp_path / "x.dcm", 4 * RAMP, 12, **scale, **window)
    expected = np.clip((8 * RAMP[0] - 1000 - 499.5) / 999 + 0.5, 0, 1) * 255
    np.testing.assert_allclose(row(path), expected, atol=0.51)


def test_signed_pixels(tmp_path: Path) -> None:
    np.testing.assert_array_equal(row(write(tmp_path / "x.dcm", 100 * (RAMP - 127))), RAMP[0])


def test_voi_table_takes_precedence_over_window(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor = [256, 0, 8]
    table.add_new("LUTData", "US", [255 - value for value in range(256)])
    tags = {"VOILUTSequence": [table], "WindowCenter": 1, "WindowWidth": 2}
    np.testing.assert_array_equal(row(write(tmp_path / "x.dcm", RAMP, 8, **tags)), 255 - RAMP[0])


def test_unused_bits_do_not_count(tmp_path: Path) -> None:
    stored = (16 * RAMP).astype(int)
    path = write(tmp_path / "x.dcm", stored | 0xF000, 12)
    np.testing.assert_array_equal(row(path), RAMP[0])
    signed = stored - 2040
    path = write(tmp_path / "y.dcm", signed & 0xFFF, 12, PixelRepresentation=1)
    np.testing.assert_array_equal(row(path), RAMP[0])


def test_negative_slope_inverts(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", RAMP, 8, RescaleSlope=-1, RescaleIntercept=255)
    np.testing.assert_array_equal(row(path), 255 - RAMP[0])


def test_slope_of_zero_is_ignored(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", RAMP, 8, RescaleSlope=0, RescaleIntercept=0)
    np.testing.assert_array_equal(row(path), RAMP[0])


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
    ],
)
def test_presentation_shape_inverts_once(
    tmp_path: Path, photometric: str, shape: str, inverted: bool
) -> None:
    tags = {"PhotometricInterpretation": photometric, "PresentationLUTShape": shape}
    np.testing.assert_array_equal(
        row(write(tmp_path / "x.dcm", RAMP, 8, **tags)), 255 - RAMP[0] if inverted else RAMP[0]
    )


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("padding", "tags"),
    [
        (4095, {"PixelPaddingValue": 4095}),
        (0, {"PixelPaddingValue": 0}),
        (4000, {"PixelPaddingValue": 4095, "PixelPaddingRangeLimit": 3900}),
        (4000, {"PixelPaddingValue": 3900, "PixelPaddingRangeLimit": 4095}),
        (4095, {"PixelPaddingValue": 65535}),
        (4095, {"PixelPaddingValue": 4095, "WindowCenter": 810.5, "WindowWidth": 1021}),
    ],
)
def test_padding_is_black_and_not_part_of_the_range(
    tmp_path: Path, photometric: str, padding: int, tags: dict[str, int]
) -> None:
    values = 300 + 4 * (RAMP if photometric == "MONOCHROME2" else 255 - RAMP)
    values[:2] = padding
    path = write(tmp_path / "x.dcm", values, 12, PhotometricInterpretation=photometric, **tags)
    pixels = decode(path, SIDE, 1)[:, :, 0]
    assert not pixels[:2].any()
    np.testing.assert_allclose(pixels[2:].astype(int), RAMP[2:], atol=1)


def test_signed_padding_stated_as_unsigned(tmp_path: Path) -> None:
    values = RAMP - 100
    values[:2] = -2000
    path = write(tmp_path / "x.dcm", values)
    header = dcmread(path)
    header.add_new("PixelPaddingValue", "US", 65536 - 2000)
    header.save_as(path)
    pixels = decode(path, SIDE, 1)[:, :, 0]
    assert not pixels[:2].any()
    np.testing.assert_array_equal(pixels[2:], RAMP[2:])


def test_picture_of_padding_is_rejected(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", np.zeros((SIDE, SIDE)), 8, PixelPaddingValue=0)
    assert reason_of(path) == "DICOM of padding only"


def test_grey_range_of_two_values_replaces_the_window(tmp_path: Path) -> None:
    tags = {"WindowCenter": 900, "WindowWidth": 10, "RescaleSlope": 2, "RescaleIntercept": -1000}
    path = write(tmp_path / "x.dcm", 4 * RAMP, 12, **tags)
    shown = decode(path, SIDE, 1, None, (-1000, 1040))[3, :, 0]
    np.testing.assert_array_equal(shown, RAMP[0])
    assert (row(path) != RAMP[0]).any()


def test_modality_table(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor = [256, 0, 16]
    table.add_new("LUTData", "US", [1000 + 3 * (255 - value) for value in range(256)])
    path = write(tmp_path / "x.dcm", RAMP, 8, ModalityLUTSequence=[table])
    np.testing.assert_array_equal(row(path), 255 - RAMP[0])


@pytest.mark.parametrize("planar", [0, 1])
def test_luminance_and_chroma_become_rgb(tmp_path: Path, planar: int) -> None:
    grey = np.stack([RAMP, np.full_like(RAMP, 128), np.full_like(RAMP, 128)], axis=2)
    stored = np.moveaxis(grey, 2, 0).reshape(SIDE, SIDE, 3) if planar else grey
    tags = {"PhotometricInterpretation": "YBR_FULL", "PlanarConfiguration": planar}
    pixels = decode(write(tmp_path / "x.dcm", stored, 8, **tags), SIDE, 3)
    np.testing.assert_array_equal(pixels, np.repeat(RAMP[:, :, None], 3, axis=2))


def test_rgb_picture(tmp_path: Path) -> None:
    colours = np.stack([RAMP, RAMP, 255 - RAMP], axis=2)
    pixels = decode(write(tmp_path / "x.dcm", colours, 8), SIDE, 3)
    np.testing.assert_array_equal(pixels, colours)


def test_uniform_picture_is_black(tmp_path: Path) -> None:
    assert not row(write(tmp_path / "x.dcm", np.full((SIDE, SIDE), 7))).any()


def test_dicom_is_recognized_without_its_suffix(tmp_path: Path) -> None:
    np.testing.assert_array_equal(row(write(tmp_path / "IM-0001", RAMP, 8)), RAMP[0])


def test_run_length_encoding(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", RAMP, 8)
    header = dcmread(path)
    header.compress(RLELossless)
    header.save_as(path)
    np.testing.assert_array_equal(row(path), RAMP[0])


def reason_of(path: Path) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        decode(path, SIDE, 1)
    return caught.value.reason


def test_missing_decoder_names_the_compression(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(compressed(dicom_bytes(), bytes(8), JPEGLosslessSV1))
    assert reason_of(path).startswith("compressed DICOM (JPEG Lossless")
    assert reason_of(path).endswith("cannot be decoded here; pip install 'pylibjpeg[all]'")


def test_several_frames_are_rejected(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", RAMP, 8, NumberOfFrames=12)
    assert reason_of(path) == "DICOM of 12 frames"


def test_file_without_pixels_is_rejected(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", RAMP, 8)
    header = dcmread(path)
    del header.PixelData
    header.save_as(path)
    assert reason_of(path) == "DICOM without a picture"


def test_palette_colours_are_rejected(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", RAMP, 8, PhotometricInterpretation="PALETTE COLOR")
    assert reason_of(path) == "DICOM in PALETTE COLOR"


def test_large_picture_is_rejected_by_its_header(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", RAMP, 8, Rows=60_000, Columns=60_000)
    assert reason_of(path) == f"too large (60000x60000; {LIMIT})"


@pytest.mark.parametrize("size", [100, 140, 400, -20])
def test_truncated_file_is_rejected(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "x.dcm", RAMP, 8)
    path.write_bytes(path.read_bytes()[:size])
    assert reason_of(path)


def test_other_content_with_the_suffix_is_rejected(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint8)).save(tmp_path / "x.dcm", format="PNG")
    assert reason_of(tmp_path / "x.dcm") == "not a DICOM file"


def test_missing_pydicom_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.dcm", RAMP, 8)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert reason_of(path) == "DICOM needs pydicom: pip install pydicom"
