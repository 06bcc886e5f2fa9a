from __future__ import annotations

import io
import os
import re
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from xray_hpc.data.decode import UNIDENTIFIED, UnreadableImageError, decode, equalize


def gradient(height: int = 60, width: int = 80) -> np.ndarray:
    """A smooth grey image, 0 at the left to 255 at the right."""
    row = np.linspace(0, 255, width).round().astype(np.uint8)
    return np.tile(row, (height, 1))


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tiff"])
def test_decode_returns_a_uint8_square(tmp_path: Path, suffix: str, channels: int) -> None:
    path = save(Image.fromarray(gradient()), tmp_path / f"x.{suffix}")
    pixels = decode(path, 16, channels)
    assert pixels.shape == (16, 16, channels)
    assert pixels.dtype == np.uint8
    expected = np.linspace(0, 255, 33)[1::2]
    np.testing.assert_allclose(pixels[5, :, 0], expected, atol=2)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "CMYK", "YCbCr"])
@pytest.mark.parametrize("channels", [1, 3])
def test_decode_is_independent_of_the_colour_mode(tmp_path: Path, mode: str, channels: int) -> None:
    grey = Image.fromarray(gradient(16, 16))
    suffix = "tiff" if mode in ("CMYK", "YCbCr") else "png"
    coloured = grey if mode == "P" else grey.convert("RGB")
    path = save(coloured.convert(mode), tmp_path / f"x.{suffix}")
    pixels = decode(path, 16, channels)
    np.testing.assert_allclose(pixels[:, :, -1], gradient(16, 16), atol=2)


def test_decode_one_bit_image(tmp_path: Path) -> None:
    path = save(Image.fromarray(gradient(8, 8) > 127), tmp_path / "x.png")
    assert set(np.unique(decode(path, 8, 1))) == {0, 255}


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4"])
@pytest.mark.parametrize("channels", [1, 3])
def test_decode_scales_16_bit_grey_to_8_bit(tmp_path: Path, dtype: str, channels: int) -> None:
    wide = (gradient(16, 16).astype(np.uint32) * 257).astype(dtype)
    path = save(Image.fromarray(wide), tmp_path / "x.tiff")
    np.testing.assert_array_equal(decode(path, 16, channels)[:, :, -1], gradient(16, 16))


def test_decode_scales_16_bit_png(tmp_path: Path) -> None:
    path = save(Image.fromarray(gradient(16, 16).astype(np.uint16) * 257), tmp_path / "x.png")
    np.testing.assert_array_equal(decode(path, 16, 1)[:, :, 0], gradient(16, 16))


def test_decode_drops_transparency(tmp_path: Path) -> None:
    image = Image.new("RGBA", (8, 8), (200, 200, 200, 0))
    assert (decode(save(image, tmp_path / "x.png"), 8, 3) == 200).all()


def test_decode_ignores_the_suffix(tmp_path: Path) -> None:
    path = save(Image.fromarray(gradient()), tmp_path / "x.jpeg", format="PNG")
    assert decode(path, 16, 1).shape == (16, 16, 1)


def test_decode_of_a_jpeg_draft_is_close_to_the_full_image(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (60, 80), np.uint8))
    large = coarse.resize((1320, 970), Image.Resampling.BICUBIC)
    path = save(large, tmp_path / "x.jpeg", quality=95)
    with Image.open(path) as image:
        whole = np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR)).astype(int)
    difference = np.abs(decode(path, 64, 1)[:, :, 0] - whole)
    assert difference.mean() < 1
    assert difference.max() <= 8


def png_claiming(width: int, height: int) -> bytes:
    data = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + data
    head = struct.pack(">I", len(data)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + head + struct.pack(">I", 0) + b"IDAT" + b"\x00" * 4


def encoded(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(gradient()).save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (b"", "^empty file$"),
        (b"\x00" * 100, f"^{UNIDENTIFIED}$"),
        (b"hello", f"^{UNIDENTIFIED}$"),
        (encoded("JPEG")[:-300], "truncated"),
        (encoded("PNG")[:-60], "truncated|broken"),
        (encoded("JPEG")[:20], "^damaged JPEG$|truncated"),
        (png_claiming(10_000, 10_000), r"^too large \(10000x10000; at most 89,478,485 pixels\)$"),
        (png_claiming(60_000, 60_000), r"^too large \(at most 89,478,485 pixels\)$"),
    ],
    ids=["empty", "zeros", "text", "cut jpeg", "cut png", "cut head", "large", "bomb"],
)
def test_decode_rejects_incomplete_and_large_files(
    tmp_path: Path, contents: bytes, reason: str
) -> None:
    path = tmp_path / "x.jpeg"
    path.write_bytes(contents)
    with pytest.raises(UnreadableImageError) as caught:
        decode(path, 16, 1)
    assert caught.value.path == path
    assert re.search(reason, caught.value.reason, re.IGNORECASE)


def test_decode_rejects_floating_point_pixels(tmp_path: Path) -> None:
    path = save(Image.fromarray(gradient().astype(np.float32)), tmp_path / "x.tiff")
    with pytest.raises(UnreadableImageError, match="floating-point"):
        decode(path, 16, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_decode_applies_clahe_after_resizing(tmp_path: Path, channels: int) -> None:
    path = save(Image.fromarray(gradient()), tmp_path / "x.png")
    expected = equalize(decode(path, 32, channels), 2.0)
    np.testing.assert_array_equal(decode(path, 32, channels, clahe=2.0), expected)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_decode_rejects_a_file_without_permission(tmp_path: Path) -> None:
    path = save(Image.fromarray(gradient()), tmp_path / "x.png")
    path.chmod(0)
    with pytest.raises(UnreadableImageError, match="no permission"):
        decode(path, 16, 1)


def test_decode_suppresses_pillow_warnings_in_threads(tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(png_claiming(10_000, 10_000))
    before = list(warnings.filters)

    def attempt(_: int) -> None:
        with pytest.raises(UnreadableImageError):
            decode(large, 16, 1)

    with warnings.catch_warnings(record=True) as seen, ThreadPoolExecutor(8) as pool:
        warnings.simplefilter("always")
        list(pool.map(attempt, range(200)))
    assert seen == []
    assert list(warnings.filters) == before


def low_contrast(channels: int) -> np.ndarray:
    """A picture of little contrast, with a step from 120 to 130 and some noise."""
    rng = np.random.default_rng(0)
    rows = np.where(np.arange(256) < 128, 120, 130)[:, None]
    picture = np.clip(rows + rng.normal(0, 1, (256, 256)), 0, 255).astype(np.uint8)
    return np.repeat(picture[:, :, None], channels, axis=2)


def test_equalize_grey_matches_opencv() -> None:
    expected = cv2.createCLAHE(2.0, (8, 8)).apply(low_contrast(1)[:, :, 0])
    np.testing.assert_array_equal(equalize(low_contrast(1), 2.0)[:, :, 0], expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_equalize_higher_limit_gives_more_contrast(channels: int) -> None:
    spread = [equalize(low_contrast(channels), limit).std() for limit in (1.0, 2.0, 8.0)]
    assert low_contrast(channels).std() < spread[0] < spread[1] < spread[2]


def test_equalize_preserves_grey_in_three_channels() -> None:
    pixels = equalize(low_contrast(3), 2.0).astype(int)
    assert pixels.shape == (256, 256, 3)
    assert np.ptp(pixels, axis=2).max() <= 1


def test_equalize_preserves_hue() -> None:
    blue = low_contrast(3)
    blue[:, :, 2] += 60
    before, after = (cv2.cvtColor(i, cv2.COLOR_RGB2LAB) for i in (blue, equalize(blue, 2.0)))
    assert before[:, :, 0].std() < after[:, :, 0].std()
    assert np.abs(before[:, :, 1:].mean((0, 1)) - after[:, :, 1:].mean((0, 1))).max() < 2


@pytest.mark.parametrize("side", [8, 9, 150])
def test_equalize_accepts_any_size_and_does_not_modify_its_input(side: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    before = picture.copy()
    assert equalize(picture, 2.0).shape == (side, side, 3)
    np.testing.assert_array_equal(picture, before)
