from __future__ import annotations

import io
import os
import re
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xray_hpc.data.decode import UnreadableImageError, decode, equalize


def gradient(height: int = 60, width: int = 80) -> np.ndarray:
    """A smooth grey image, 0 at the left to 255 at the right."""
    row = np.linspace(0, 255, width).round().astype(np.uint8)
    return np.tile(row, (height, 1))


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tiff"])
def test_an_image_becomes_a_square_of_bytes(tmp_path: Path, suffix: str, channels: int) -> None:
    path = save(Image.fromarray(gradient()), tmp_path / f"x.{suffix}")
    pixels = decode(path, 16, channels)
    assert pixels.shape == (16, 16, channels)
    assert pixels.dtype == np.uint8
    expected = np.linspace(0, 255, 33)[1::2]
    np.testing.assert_allclose(pixels[5, :, 0], expected, atol=2)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "CMYK", "YCbCr"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_colour_mode_of_one_picture_gives_the_same_pixels(
    tmp_path: Path, mode: str, channels: int
) -> None:
    grey = Image.fromarray(gradient(16, 16))
    suffix = "tiff" if mode in ("CMYK", "YCbCr") else "png"
    coloured = grey if mode == "P" else grey.convert("RGB")
    path = save(coloured.convert(mode), tmp_path / f"x.{suffix}")
    pixels = decode(path, 16, channels)
    np.testing.assert_allclose(pixels[:, :, -1], gradient(16, 16), atol=2)


def test_one_bit_images_are_black_and_white(tmp_path: Path) -> None:
    path = save(Image.fromarray(gradient(8, 8) > 127), tmp_path / "x.png")
    assert set(np.unique(decode(path, 8, 1))) == {0, 255}


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_grey_is_scaled_to_8_bit(tmp_path: Path, dtype: str, channels: int) -> None:
    wide = (gradient(16, 16).astype(np.uint32) * 257).astype(dtype)
    path = save(Image.fromarray(wide), tmp_path / "x.tiff")
    np.testing.assert_array_equal(decode(path, 16, channels)[:, :, -1], gradient(16, 16))


def test_16_bit_png_is_scaled_too(tmp_path: Path) -> None:
    path = save(Image.fromarray(gradient(16, 16).astype(np.uint16) * 257), tmp_path / "x.png")
    np.testing.assert_array_equal(decode(path, 16, 1)[:, :, 0], gradient(16, 16))


def test_transparency_is_dropped_not_blended(tmp_path: Path) -> None:
    image = Image.new("RGBA", (8, 8), (200, 200, 200, 0))
    assert (decode(save(image, tmp_path / "x.png"), 8, 3) == 200).all()


def test_exif_orientation_is_left_alone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = save(Image.fromarray(gradient(32, 32)), tmp_path / "a.jpeg", quality=95)
    turned = save(Image.fromarray(gradient(32, 32)), tmp_path / "b.jpeg", quality=95, exif=exif)
    np.testing.assert_array_equal(decode(plain, 16, 1), decode(turned, 16, 1))


def test_the_suffix_does_not_matter(tmp_path: Path) -> None:
    path = save(Image.fromarray(gradient()), tmp_path / "x.jpeg", format="PNG")
    assert decode(path, 16, 1).shape == (16, 16, 1)


def test_decoding_jpeg_small_is_all_but_the_same_as_whole(tmp_path: Path) -> None:
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
        (b"\x00" * 100, "^not an image$"),
        (b"hello", "^not an image$"),
        (encoded("JPEG")[:-300], "truncated"),
        (encoded("PNG")[:-60], "truncated|broken"),
        (encoded("JPEG")[:20], "not an image|truncated"),
        (png_claiming(10_000, 10_000), r"^too large \(10000x10000\)$"),
        (png_claiming(60_000, 60_000), "^too large$"),
    ],
    ids=["empty", "zeros", "text", "cut jpeg", "cut png", "cut head", "large", "bomb"],
)
def test_what_is_no_whole_image_is_unreadable(tmp_path: Path, contents: bytes, reason: str) -> None:
    path = tmp_path / "x.jpeg"
    path.write_bytes(contents)
    with pytest.raises(UnreadableImageError) as caught:
        decode(path, 16, 1)
    assert caught.value.path == path
    assert re.search(reason, caught.value.reason, re.IGNORECASE)


def test_pixels_of_unknown_range_are_unreadable(tmp_path: Path) -> None:
    path = save(Image.fromarray(gradient().astype(np.float32)), tmp_path / "x.tiff")
    with pytest.raises(UnreadableImageError, match="floating-point"):
        decode(path, 16, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_contrast_is_evened_after_resizing(tmp_path: Path, channels: int) -> None:
    path = save(Image.fromarray(gradient()), tmp_path / "x.png")
    expected = equalize(decode(path, 32, channels), 2.0)
    np.testing.assert_array_equal(decode(path, 32, channels, clahe=2.0), expected)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_unreadable(tmp_path: Path) -> None:
    path = save(Image.fromarray(gradient()), tmp_path / "x.png")
    path.chmod(0)
    with pytest.raises(UnreadableImageError, match="no permission"):
        decode(path, 16, 1)


def test_pillows_warnings_stay_inside_also_with_threads(tmp_path: Path) -> None:
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
