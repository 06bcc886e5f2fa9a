from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.data.array_store import (
    CHECKSUMS,
    WRITTEN,
    ArraySpec,
    DamagedStoreError,
    blocks,
    is_finite,
    read_arrays,
)
from xray_hpc.data.array_writer import StoreWriter, blocks_written, missing_bytes

REPOSITORY = Path(__file__).parents[2]
SPECS = {"images": ArraySpec((10, 3, 2), "float16", 4), "labels": ArraySpec((5,), "int64", 5)}
IMAGES = np.arange(60, dtype=np.float16).reshape(10, 3, 2)
LABELS = np.arange(5)
VALUES = {"images": IMAGES, "labels": LABELS}


def fill(path: Path, count: int | None = None, key: str = "k") -> list[int]:
    """Write up to ``count`` missing blocks, finish if none is left, and return their numbers."""
    with StoreWriter(path, SPECS, key) as writer:
        todo = writer.missing[:count]
        for block in todo:
            writer.write(block, VALUES[block.array][block.start : block.stop])
        writer.sync()
        if not writer.missing:
            writer.finish()
    return [block.number for block in todo]


def run_script(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run ``script`` in another process, with the names of this module and ``path``."""
    head = "import os, sys; from pathlib import Path; from tests.data.test_array_store import *\n"
    command = [sys.executable, "-c", f"{head}path = Path(sys.argv[1])\n{script}", str(path)]
    return subprocess.run(command, check=False, cwd=REPOSITORY, capture_output=True, text=True)


def test_read_arrays_returns_the_written_values(tmp_path: Path) -> None:
    fill(tmp_path / "f.h5")
    arrays = read_arrays(tmp_path / "f.h5", SPECS, "k")
    np.testing.assert_array_equal(arrays["images"], IMAGES)
    np.testing.assert_array_equal(arrays["labels"], LABELS)


def test_store_is_readable_with_h5py(tmp_path: Path) -> None:
    fill(tmp_path / "f.h5")
    with h5py.File(tmp_path / "f.h5") as file:
        np.testing.assert_array_equal(file["images"][:], IMAGES)
        assert file["images"].dtype == np.float16


def test_read_arrays_maps_the_file_read_only(tmp_path: Path) -> None:
    fill(tmp_path / "f.h5")
    images = read_arrays(tmp_path / "f.h5", SPECS, "k")["images"]
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_large_array_begins_at_a_page(tmp_path: Path) -> None:
    """A memory map begins at a page, and TensorFlow does not copy an aligned array."""
    specs = {"few": ArraySpec((3,), "uint8", 3), "many": ArraySpec((9000,), "uint8", 9000)}
    with StoreWriter(tmp_path / "f.h5", specs, "k") as writer, h5py.File(writer.partial) as file:
        assert file["many"].id.get_offset() % 4096 == 0


def test_writer_names_the_file_only_when_complete(tmp_path: Path) -> None:
    fill(tmp_path / "f.h5", 3)
    assert not (tmp_path / "f.h5").exists()
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "f.h5", SPECS, "k")
    fill(tmp_path / "f.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["f.h5"]


@given(st.lists(st.integers(1, 4), max_size=4))
def test_writer_resumes_an_unfinished_store(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("blocks") / "f.h5"
    written = []
    for count in [*counts, None]:
        if not path.exists():
            written += fill(path, count)
    assert written == [0, 1, 2, 3]
    np.testing.assert_array_equal(read_arrays(path, SPECS, "k")["images"], IMAGES)


@given(st.permutations(range(4)), st.integers(0, 3))
def test_writer_accepts_blocks_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], count: int
) -> None:
    path = tmp_path_factory.mktemp("blocks") / "f.h5"
    with StoreWriter(path, SPECS, "k") as writer:
        for number in order[:count]:
            block = writer.blocks[number]
            writer.write(block, VALUES[block.array][block.start : block.stop])
            np.testing.assert_array_equal(
                writer.read(block), VALUES[block.array][block.start : block.stop]
            )
        writer.sync()
    assert fill(path) == sorted(order[count:])
    np.testing.assert_array_equal(read_arrays(path, SPECS, "k")["images"], IMAGES)


def test_killed_writer_keeps_the_synced_blocks(tmp_path: Path) -> None:
    script = (
        "import signal\n"
        "writer = StoreWriter(path, SPECS, 'k')\n"
        "for block in writer.missing[:3]:\n"
        "    writer.write(block, VALUES[block.array][block.start:block.stop])\n"
        "    if block.number == 1: writer.sync()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "f.h5"
    assert run_script(script, path).returncode == -9
    assert fill(path) == [2, 3]
    np.testing.assert_array_equal(read_arrays(path, SPECS, "k")["images"], IMAGES)


def test_writer_does_not_resume_a_store_of_another_key(tmp_path: Path) -> None:
    fill(tmp_path / "f.h5", 2, key="other")
    assert fill(tmp_path / "f.h5") == [0, 1, 2, 3]


def test_writer_discard_removes_the_unfinished_file(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "f.h5", SPECS, "k") as writer:
        writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_read_arrays_rejects_a_store_of_another_key(tmp_path: Path) -> None:
    fill(tmp_path / "f.h5", key="other")
    with pytest.raises(DamagedStoreError, match="another key"):
        read_arrays(tmp_path / "f.h5", SPECS, "k")


@given(st.data())
def test_read_arrays_detects_a_changed_byte(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("blocks") / "f.h5"
    fill(path)
    with h5py.File(path) as file:
        name = data.draw(st.sampled_from(sorted(VALUES)))
        first = file[name].id.get_offset()
        place = first + data.draw(st.integers(0, file[name].nbytes - 1))
    content = bytearray(path.read_bytes())
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(DamagedStoreError, match=rf"{name}\["):
        read_arrays(path, SPECS, "k")


@given(st.floats(0, 1, exclude_max=True))
def test_read_arrays_detects_a_truncated_file(
    tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    path = tmp_path_factory.mktemp("blocks") / "f.h5"
    fill(path)
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(DamagedStoreError):
        read_arrays(path, SPECS, "k")


def test_array_may_be_empty(tmp_path: Path) -> None:
    specs = {"none": ArraySpec((0, 3), "float32", 4), "one": ArraySpec((1,), "uint8", 4)}
    with StoreWriter(tmp_path / "f.h5", specs, "k") as writer:
        writer.write(writer.missing[0], np.array([7]))
        writer.finish()
    arrays = read_arrays(tmp_path / "f.h5", specs, "k")
    assert arrays["none"].shape == (0, 3)
    assert arrays["one"].tolist() == [7]


def test_full_disk_raises_and_keeps_the_written_blocks(tmp_path: Path) -> None:
    fill(tmp_path / "f.h5", 2)
    script = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "writer = StoreWriter(path, SPECS, 'k')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))\n"
        "try: writer.write(writer.missing[0], IMAGES[8:10])\n"
        "except OSError as error: print(error.errno)\n"
    )
    assert run_script(script, tmp_path / "f.h5").stdout == f"{errno.EFBIG}\n"
    assert fill(tmp_path / "f.h5") == [2, 3]


@pytest.mark.parametrize("limit", [100, 3000])
def test_full_disk_while_the_file_is_created_raises(
    tmp_path: Path, largest_file: Callable[[int], None], limit: int
) -> None:
    largest_file(limit)
    with pytest.raises(OSError, match="File too large") as caught:
        StoreWriter(tmp_path / "f.h5", {"a": ArraySpec((10_000,), "uint8", 100)}, "k")
    assert caught.value.errno == errno.EFBIG


@given(st.integers(0, 20), st.integers(1, 7))
def test_blocks_cover_every_row_once(rows: int, size: int) -> None:
    found = blocks({"a": ArraySpec((rows, 2), "uint8", size), "b": ArraySpec((3,), "uint8", size)})
    covered = [(b.array, row) for b in found for row in range(b.start, b.stop)]
    assert covered == [("a", row) for row in range(rows)] + [("b", row) for row in range(3)]
    assert [b.number for b in found] == list(range(len(found)))


def test_missing_bytes_counts_what_is_not_written(tmp_path: Path) -> None:
    specs = {"zeros": ArraySpec((64, 2**14), "float32", 32)}
    assert missing_bytes(tmp_path / "f.h5", specs) == 2**22
    with StoreWriter(tmp_path / "f.h5", specs, "k") as writer:
        writer.write(writer.missing[0], np.ones((32, 2**14)))
        writer.sync()
        assert 2**21 - 2**16 <= missing_bytes(tmp_path / "f.h5", specs) <= 2**21
        assert blocks_written(tmp_path / "f.h5") == 1


def test_blocks_written_is_zero_without_a_file(tmp_path: Path) -> None:
    assert blocks_written(tmp_path / "f.h5") == 0


def replace_by_link(path: Path, name: str) -> None:
    """Put a link to a file that does not exist in the place of an array."""
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = h5py.ExternalLink("elsewhere.h5", name)


@pytest.mark.parametrize("name", ["images", CHECKSUMS])
def test_link_to_another_file_is_not_followed(tmp_path: Path, name: str) -> None:
    fill(tmp_path / "f.h5")
    replace_by_link(tmp_path / "f.h5", name)
    with pytest.raises(DamagedStoreError, match=f"^{name} is not"):
        read_arrays(tmp_path / "f.h5", SPECS, "k")


def test_blocks_written_follows_no_link_to_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "f.h5", 3)
    partial = tmp_path / ".f.h5.partial"
    with h5py.File(partial) as file, h5py.File(tmp_path / "elsewhere.h5", "w") as elsewhere:
        elsewhere[WRITTEN] = file[WRITTEN][:]
    assert blocks_written(tmp_path / "f.h5") == 3
    replace_by_link(partial, WRITTEN)
    monkeypatch.chdir(tmp_path)
    assert blocks_written(tmp_path / "f.h5") == 0


@given(st.sampled_from(["float16", "float32", "float64"]), st.data())
def test_is_finite_agrees_with_numpy(dtype: str, data: st.DataObject) -> None:
    width = np.dtype(dtype).itemsize
    bits = data.draw(st.lists(st.integers(0, 2 ** (8 * width) - 1), max_size=4))
    special = data.draw(st.lists(st.sampled_from([np.inf, -np.inf, np.nan, -0.0]), max_size=1))
    numbers = np.array(bits, f"u{width}").view(dtype)
    rows = np.concatenate([numbers, np.array(special, dtype)])
    assert is_finite(rows) == np.isfinite(rows).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_rejected_and_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    """Their checksums are right."""
    wrong = IMAGES.copy()
    wrong[5, 1, 1] = value
    monkeypatch.setitem(VALUES, "images", wrong)
    fill(tmp_path / "f.h5")
    with pytest.raises(DamagedStoreError, match=r"images\[4:8\]"):
        read_arrays(tmp_path / "f.h5", SPECS, "k")
    fill(tmp_path / "g.h5", 3)
    monkeypatch.undo()
    assert fill(tmp_path / "g.h5") == [1, 3]
    np.testing.assert_array_equal(read_arrays(tmp_path / "g.h5", SPECS, "k")["images"], IMAGES)
