"""How each format states the range, sign, inversion and orientation of its grey values."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from tests.data.raw_images import RAMP, SIDE, colours, png_bytes, png_chunk, ramp, tiff_bytes
from xray_hpc.config.run_config import GreyRange
from xray_hpc.data.decode import Decoded, UnreadableImageError, decode_bytes
from xray_hpc.data.grey_levels import orient, smallest_depth

ALPHA = np.full_like(RAMP, 255)


def decoded(data: bytes, channels: int = 1, grey_range: GreyRange | None = None) -> Decoded:
    return decode_bytes(data, Path("x"), SIDE, channels, None, grey_range)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def reason_of(data: bytes, grey_range: GreyRange | None = None) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        decoded(data, 1, grey_range)
    return caught.value.reason


def text_chunk(name: bytes, *values: int, form: str) -> bytes:
    return png_chunk(name, struct.pack(f">{form}", *values))


PALETTE = png_chunk(b"PLTE", bytes(v for i in range(16) for v in [17 * (15 - i)] * 3))
GREY = Image.fromarray(RAMP)
SAME_PICTURE = {
    "png 4 bits": png_bytes(RAMP // 17, 0, 4),
    "png 8 bits": png_bytes(RAMP, 0, 8),
    "png 16 bits": png_bytes(ramp(16), 0, 16),
    "png 16 bits of 12": png_bytes(ramp(12), 0, 16),
    "png grey with alpha, 16 bits of 12": png_bytes(
        np.dstack([ramp(12), np.full_like(ramp(12), 65535)]), 4, 16
    ),
    "png rgb, 16 bits of 12": png_bytes(colours(ramp(12)), 2, 16),
    "png rgba, 16 bits of 10": png_bytes(
        np.dstack([colours(ramp(10)), np.full_like(ramp(10), 1023)]), 6, 16
    ),
    "png palette, inverted": png_bytes(15 - RAMP // 17, 3, 4, PALETTE),
    "png palette with transparent colours": png_bytes(
        15 - RAMP // 17, 3, 4, PALETTE, png_chunk(b"tRNS", bytes(16))
    ),
    "png with a transparent grey level": png_bytes(RAMP, 0, 8, text_chunk(b"tRNS", 255, form="H")),
    "png of 16 bits with a transparent grey level": png_bytes(
        ramp(16), 0, 16, text_chunk(b"tRNS", 0, form="H")
    ),
    "png with gamma": png_bytes(RAMP, 0, 8, text_chunk(b"gAMA", 45455, form="I")),
    "png of 16 bits with 12 significant": png_bytes(
        ramp(16), 0, 16, text_chunk(b"sBIT", 12, form="B")
    ),
    "jpeg": saved(GREY, "JPEG", quality=100),
    "jpeg rgb": saved(GREY.convert("RGB"), "JPEG", quality=100),
    "jpeg rgb without chroma": saved(GREY.convert("RGB"), "JPEG", quality=100, keep_rgb=True),
    "jpeg cmyk, inverted by Adobe": saved(GREY.convert("CMYK"), "JPEG", quality=100),
    "bmp": saved(GREY, "BMP"),
    "bmp rgb": saved(GREY.convert("RGB"), "BMP"),
    "gif": saved(GREY, "GIF"),
}
ORDERS: tuple[Literal["<", ">"], ...] = ("<", ">")
for order in ORDERS:
    SAME_PICTURE |= {
        f"tiff {order}{name}": data
        for name, data in {
            "8 bits": tiff_bytes(RAMP, order=order),
            "8 bits, white is zero": tiff_bytes(255 - RAMP, 0, order=order),
            "4 bits": tiff_bytes(RAMP // 17, order=order, bits=4),
            "4 bits, white is zero": tiff_bytes(15 - RAMP // 17, 0, order=order, bits=4),
            "16 bits": tiff_bytes(ramp(16), order=order),
            "16 bits of 12": tiff_bytes(ramp(12), order=order),
            "16 bits signed": tiff_bytes(ramp(14, "i2"), order=order),
            "32 bits signed": tiff_bytes(ramp(16, "i4"), order=order),
            "rgb": tiff_bytes(colours(RAMP), 2, order=order),
            "rgb in planes": tiff_bytes(colours(RAMP), 2, order=order, planes=True),
            "rgb of 16 bits": tiff_bytes(colours(ramp(16)), 2, order=order),
            "rgb, 16 bits of 12": tiff_bytes(colours(ramp(12)), 2, order=order),
            "grey with alpha": tiff_bytes(np.dstack([RAMP, ALPHA]), order=order, tags={338: [2]}),
            "grey with premultiplied alpha": tiff_bytes(
                np.dstack([RAMP, ALPHA]), order=order, tags={338: [1]}
            ),
            "flipped": tiff_bytes(RAMP[:, ::-1], order=order, tags={274: [2]}),
            "16 bits, flipped": tiff_bytes(ramp(16)[:, ::-1], order=order, tags={274: [2]}),
            "rgb of 16 bits, turned": tiff_bytes(
                colours(np.rot90(ramp(16))), 2, order=order, tags={274: [6]}
            ),
            "small copy on the second page": tiff_bytes(
                RAMP, order=order, tags={254: [1]}, pages=2
            ),
        }.items()
    }
SAME_PICTURE |= {  # Pillow reads these in one byte order only
    "tiff 12 bits": tiff_bytes(ramp(12), bits=12),
    "tiff 16 bits, white is zero": tiff_bytes(65535 - ramp(16), 0),
    "tiff 16 bits of 12, white is zero": tiff_bytes(4095 - ramp(12), 0),
    "tiff 32 bits": tiff_bytes(ramp(16, "u4")),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", SAME_PICTURE)
def test_decode_shows_the_same_picture_from_every_format(name: str, channels: int) -> None:
    pixels = decoded(SAME_PICTURE[name], channels).pixels
    expected = np.repeat(RAMP[:, :, None], channels, axis=2)
    np.testing.assert_allclose(pixels.astype(int), expected, atol=1 if "jpeg" in name else 0)


@pytest.mark.parametrize("bits", [1, 2])
def test_decode_of_few_bits(bits: int) -> None:
    levels = 2**bits - 1
    values = RAMP // 64 >> 2 - bits
    white_is_zero = tiff_bytes(levels - values, 0, bits=bits)
    for data in (png_bytes(values, 0, bits), tiff_bytes(values, bits=bits), white_is_zero):
        np.testing.assert_array_equal(decoded(data).pixels[:, :, 0], values * (255 // levels))


@pytest.mark.parametrize(
    ("largest", "bits"),
    [(1, 8), (255, 8), (256, 10), (1024, 12), (4095, 12), (4096, 14), (16384, 16), (65535, 16)],
)
def test_smallest_depth(largest: int, bits: int) -> None:
    assert smallest_depth(largest) == bits


@pytest.mark.parametrize(
    ("data", "largest"),
    [
        (png_bytes(RAMP, 0, 8), 0),
        (png_bytes(ramp(12), 0, 16), 4095),
        (png_bytes(colours(ramp(14)), 2, 16), 16383),
        (tiff_bytes(ramp(10), bits=12), 4095),  # declared, though no pixel has it
    ],
)
def test_decode_bytes_returns_the_largest_value_of_more_than_8_bits(
    data: bytes, largest: int
) -> None:
    assert decoded(data).largest == largest


@pytest.mark.parametrize("data", [png_bytes(ramp(10), 0, 16), tiff_bytes(ramp(10))])
def test_grey_range_of_bits_keeps_differences_in_exposure(data: bytes) -> None:
    np.testing.assert_allclose(decoded(data, 1, 12).pixels[:, :, 0], RAMP / 4, atol=0.51)


@pytest.mark.parametrize("dtype", ["i2", "i4", "f4"])
def test_grey_range_of_two_values_clips(dtype: str) -> None:
    values = 10 * RAMP.astype(dtype) - 1000
    pixels = decoded(tiff_bytes(values), 1, (-500, 500)).pixels[:, :, 0]
    np.testing.assert_allclose(pixels, np.clip((values + 500) / 1000, 0, 1) * 255, atol=0.51)


def test_grey_range_of_two_values_applies_to_signed_bytes() -> None:
    values = (RAMP.astype(int) - 128).astype("i1")
    np.testing.assert_array_equal(decoded(tiff_bytes(values), 1, (-128, 127)).pixels[:, :, 0], RAMP)


def test_grey_range_does_not_apply_to_8_bits() -> None:
    np.testing.assert_array_equal(
        decoded(png_bytes(RAMP, 0, 8), 1, (0, 4095)).pixels[:, :, 0], RAMP
    )


def test_white_is_zero_is_inverted_after_scaling() -> None:
    pixels = decoded(tiff_bytes(ramp(10), 0), 1, (0, 1023)).pixels[:, :, 0]
    np.testing.assert_array_equal(pixels, 255 - RAMP)


@pytest.mark.parametrize(
    ("data", "grey_range", "reason"),
    [
        (tiff_bytes(ramp(16)), 12, "pixels up to 65535, beyond the 12-bit range"),
        (tiff_bytes(ramp(20, "i4")), None, "pixels up to 1048575, beyond the 16-bit range"),
        (tiff_bytes(ramp(32, "u4")), None, "pixels up to 4294967295, beyond the 16-bit range"),
        (tiff_bytes(ramp(8, "i2") - 100), None, "negative pixels (down to -100) of unknown range"),
        (tiff_bytes(ramp(7, "i1") - 9), 16, "negative pixels (down to -9) of unknown range"),
        (tiff_bytes(RAMP.astype("f4")), 16, "floating-point pixels of unknown range"),
        (tiff_bytes(np.full((SIDE, SIDE), np.nan, "f4")), (0, 1), "pixels that are not finite"),
        (tiff_bytes(colours(ramp(16)), 2, planes=True), None, "16-bit colours in an unsupported"),
        (tiff_bytes(RAMP, pages=3), None, "TIFF of several frames"),
    ],
)
def test_values_without_a_range_are_rejected(
    data: bytes, grey_range: GreyRange | None, reason: str
) -> None:
    assert reason_of(data, grey_range).startswith(reason)


@pytest.mark.parametrize("write", [lambda p: png_bytes(p, 2, 16), lambda p: tiff_bytes(p, 2)])
def test_truncated_colours_of_16_bits_are_rejected(
    write: Callable[[np.ndarray], bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (64, 64, 3)).astype("u2")
    assert "truncated" in reason_of(write(pixels)[:-500])
    assert capfd.readouterr().err == ""  # OpenCV would print there


def test_animation_is_rejected() -> None:
    frames = [GREY, GREY.point(lambda v: 255 - v)]
    for form in ("GIF", "PNG"):
        data = saved(frames[0], form, save_all=True, append_images=frames[1:])
        assert reason_of(data) == f"{form} of several frames"


def test_jpeg_of_12_bits_is_named() -> None:
    data = bytearray(saved(GREY, "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    assert reason_of(bytes(data)) == "JPEG: cannot handle 12-bit layers"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_applies_exif_orientation(form: str, orientation: int) -> None:
    """Pillow stores what a camera in that orientation would have."""
    upright = np.zeros((64, 48), np.uint8)
    upright[:24, :18], upright[:24, 18:], upright[24:, :18] = 255, 160, 80
    image = Image.fromarray(upright).convert("RGB")
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = image.transpose(Image.Transpose(turns[orientation])) if orientation > 1 else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
    shown = decoded(saved(stored, form, exif=exif, **options)).pixels
    plain = decoded(saved(image, "PNG")).pixels
    np.testing.assert_allclose(shown.astype(int), plain, atol=3)


def test_damaged_exif_data_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(GREY, "JPEG", exif=exif, quality=100)
    for damage in (b"XX*\0\0\0\0\x08", b"MM\0*\xff\xff\xff\xff"):
        start = data.index(b"Exif\0\0") + 6
        broken = data[:start] + damage + data[start + 8 :]
        np.testing.assert_allclose(decoded(broken).pixels[:, :, 0].astype(int), RAMP, atol=1)


def test_orient_of_an_unknown_orientation_is_the_identity() -> None:
    for orientation in (0, 1, 9, None, "6"):
        np.testing.assert_array_equal(orient(RAMP, orientation), RAMP)
