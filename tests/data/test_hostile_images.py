"""Files made to exhaust memory or time, to run code, or to give wrong pixels silently."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pydicom.pixels.decoders import rle
from pydicom.uid import JPEGBaseline8Bit

from tests.data.dicom_files import compressed, deflated, dicom_bytes, with_elements
from tests.data.hostile_images import (
    PIXELS,
    eps,
    hostile_files,
    jpeg_of_scans,
    legitimate_files,
    png_of_pixels,
    run_lengths,
    tiff_of_ycbcr,
)
from tests.data.raw_images import tiff_bytes
from xray_hpc.data import decode as decoding
from xray_hpc.data import decode_limits, dicom_header
from xray_hpc.data.decode import (
    UNIDENTIFIED,
    OutOfMemoryError,
    UnreadableImageError,
    decode,
    decode_bytes,
)
from xray_hpc.data.decode_limits import MemoryBudget, budgets

HOSTILE, LEGITIMATE = hostile_files(), legitimate_files()


def reason_of(data: bytes, name: str = "x.png") -> str:
    with pytest.raises(UnreadableImageError) as caught:
        decode_bytes(data, Path(name), 16, 1)
    assert not isinstance(caught.value, OutOfMemoryError)
    return caught.value.reason


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_one_short_reason(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reason = reason_of(HOSTILE[name], name)
    assert reason
    assert len(reason.splitlines()) == 1
    assert len(reason) <= 250


@pytest.mark.parametrize("name", LEGITIMATE)
def test_limits_allow_unusual_files(name: str) -> None:
    pixels = decode_bytes(LEGITIMATE[name], Path(name), 16, 1).pixels[:, :, 0]
    np.testing.assert_allclose(pixels.astype(int), PIXELS, atol=1)


def test_postscript_is_not_an_image_and_starts_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    assert reason_of(eps()) == UNIDENTIFIED


@pytest.mark.parametrize("form", ["WEBP", "PPM", "JPEG2000", "PCX", "ICO", "TGA", "SGI"])
def test_formats_without_a_suffix_of_ours_are_not_images(form: str) -> None:
    from PIL import Image

    from tests.data.hostile_images import saved

    assert reason_of(saved(Image.fromarray(PIXELS), form)) == UNIDENTIFIED


def test_scans_are_limited() -> None:
    assert decode_bytes(jpeg_of_scans(20), Path("x"), 16, 1).pixels.any()
    assert reason_of(jpeg_of_scans(1000)) == "JPEG of more than 100 scans"
    in_dicom = compressed(dicom_bytes(), jpeg_of_scans(1000), JPEGBaseline8Bit)
    assert reason_of(in_dicom) == "JPEG of more than 100 scans"


def test_pages_are_not_all_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_limits, "MAX_PAGES", 3)
    copies = tiff_bytes(PIXELS, pages=4, tags={254: [1]})
    assert reason_of(copies) == "TIFF of several frames"


def test_deflated_dicom_is_inflated_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_header, "MAX_FILE_BYTES", 2**20)
    assert reason_of(deflated(dicom_bytes(), 2**21)) == "deflated DICOM of more than 1 MiB"


def test_deflated_dicom_without_the_length_of_its_meta_information() -> None:
    data = bytearray(deflated(dicom_bytes(), 2**20))
    data[140:144] = bytes(4)
    assert reason_of(bytes(data)).startswith("deflated DICOM")


def test_elements_of_dicom_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_header, "MAX_READS", 1500)
    assert (
        reason_of(with_elements(dicom_bytes(), 2000)) == "DICOM with more than 500 header elements"
    )


@pytest.mark.parametrize(
    "segment",
    [b"\x81\0" * 2000, b"\x7f" + bytes(128) + b"\x81\0" * 4, b"\0\0" * 600, b"\x80" * 2000],
    ids=["repeated", "literal", "of one byte", "of nothing"],
)
def test_run_lengths_are_limited_before_they_expand(
    segment: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rle, "_decode_frame", None)
    assert reason_of(run_lengths(segment)) == "DICOM with more run-length encoded pixels than 16x16"


@pytest.mark.parametrize("padding", [b"", b"\0", b"\x80" * 9, b"\x81\0"])
def test_run_lengths_may_have_padding(padding: bytes) -> None:
    rows = b"".join(b"\x0f" + row.tobytes() for row in PIXELS)
    pixels = decode_bytes(run_lengths(rows + padding), Path("x.dcm"), 16, 1).pixels
    np.testing.assert_allclose(pixels[:, :, 0].astype(int), PIXELS, atol=1)


def test_lack_of_memory_in_a_decoder_of_dicom_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(rle, "_rle_decode_frame", fail)
    with pytest.raises(OutOfMemoryError):
        decode_bytes(LEGITIMATE["run lengths.dcm"], Path("x.dcm"), 16, 1)


@pytest.mark.parametrize(("rows", "readable"), [(2**22, True), (2**24, False), (2**31, False)])
def test_strips_that_no_machine_can_decode_are_no_lack_of_memory(rows: int, readable: bool) -> None:
    """Pillow reports them by the same number."""
    data = tiff_of_ycbcr(rows)
    if readable:
        assert decode_bytes(data, Path("x.tif"), 16, 1).pixels.any()
    else:
        assert f"64x{rows}" in reason_of(data)


def test_sparse_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    with path.open("wb") as file:
        file.truncate(40 * 2**30)
    with pytest.raises(UnreadableImageError) as caught:
        decode(path, 16, 1)
    assert caught.value.reason == "larger than 256 MiB"


def test_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(UnreadableImageError) as caught:
        decode(tmp_path / "x.png", 16, 1)
    assert caught.value.reason == "a FIFO, not a regular file"


def test_device_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x.png").symlink_to("/dev/zero")
    with pytest.raises(UnreadableImageError) as caught:
        decode(tmp_path / "x.png", 16, 1)
    assert caught.value.reason == "a device, not a regular file"


def test_lack_of_memory_is_an_error_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decoding, "_square", fail)
    with pytest.raises(OutOfMemoryError) as caught:
        decode_bytes(png_of_pixels(16), tmp_path / "x.png", 16, 1)
    assert caught.value.path == tmp_path / "x.png"


@pytest.mark.parametrize(
    ("image", "mebibytes"),
    [("png_of_pixels(8192)", 128), ("tiff_of_a_strip(8192)", 96)],
)
def test_decoding_under_a_memory_limit_is_an_error_of_its_own(image: str, mebibytes: int) -> None:
    """The PNG needs 256 MiB at least, the TIFF 128; the process may take less."""
    code = f"""
import resource, sys
from pathlib import Path
from tests.data.hostile_images import png_of_pixels, tiff_of_a_strip
from xray_hpc.data.decode import OutOfMemoryError, decode_bytes
data = {image}
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + {mebibytes} * 2**20,) * 2)
try:
    decode_bytes(data, Path("x.png"), 16, 1)
except OutOfMemoryError as error:
    print(error.path)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout == "x.png\n"


def test_budget_limits_all_threads_together() -> None:
    budget, lock = MemoryBudget(100), threading.Lock()
    used = most = 0

    def work(count: int) -> None:
        nonlocal used, most
        with budget.reserve(count):
            with lock:
                used += count
                most = max(most, used)
            with lock:
                used -= count

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [60, 10, 40, 100, 30] * 200))
    assert most <= 100


@pytest.mark.parametrize(("gibibytes", "most"), [(1, 2.75), (8, 2.75), (64, 20.25)])
def test_budgets_grow_with_the_memory_of_the_job(gibibytes: int, most: float) -> None:
    assert sum(budget.total for budget in budgets(gibibytes * 2**30)) == most * 2**30


def test_budget_admits_what_is_larger_alone() -> None:
    budget = MemoryBudget(100)
    with budget.reserve(10**9):
        waiting = threading.Thread(target=lambda: budget.reserve(1).__enter__(), daemon=True)
        waiting.start()
    waiting.join(60)
    assert not waiting.is_alive()


def test_budget_is_released_by_an_error() -> None:
    budget = MemoryBudget(100)
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"), budget.reserve(100):
            raise ValueError("broken")
