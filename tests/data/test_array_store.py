from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.data.array_store import (
    ArraySpec,
    DamagedStoreError,
    StoreWriter,
    blocks,
    blocks_written,
    missing_bytes,
    read_arrays,
)

REPOSITORY = Path(__file__).parents[2]
ARRAYS = {"images": ArraySpec((10, 3, 2), "float16", 4), "labels": ArraySpec((5,), "int64", 5)}
IMAGES = np.arange(60, dtype=np.float16).reshape(10, 3, 2)
LABELS = np.arange(5)
VALUES = {"images": IMAGES, "labels": LABELS}


def fill(path: Path, count: int | None = None, key: str = "k") -> list[int]:
    """Write so many of the blocks that are left, and finish after the last; give their numbers."""
    with StoreWriter(path, ARRAYS, key) as filling:
        written = filling.left[:count]
        for block in written:
            filling.write(block, VALUES[block.array][block.start : block.stop])
        filling.sync()
        if not filling.left:
            filling.finish()
    return [block.number for block in written]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    fill(tmp_path / "f.h5")
    found = read_arrays(tmp_path / "f.h5", ARRAYS, "k")
    np.testing.assert_array_equal(found["images"], IMAGES)
    np.testing.assert_array_equal(found["labels"], LABELS)


def test_it_is_an_hdf5_file_of_these_arrays(tmp_path: Path) -> None:
    fill(tmp_path / "f.h5")
    with h5py.File(tmp_path / "f.h5") as file:
        np.testing.assert_array_equal(file["images"][:], IMAGES)
        assert file["images"].dtype == np.float16


def test_readers_map_the_file_and_cannot_change_it(tmp_path: Path) -> None:
    fill(tmp_path / "f.h5")
    images = read_arrays(tmp_path / "f.h5", ARRAYS, "k")["images"]
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_it_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    fill(tmp_path / "f.h5", 3)
    assert not (tmp_path / "f.h5").exists()
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "f.h5", ARRAYS, "k")
    fill(tmp_path / "f.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["f.h5"]


@given(st.lists(st.integers(1, 4), max_size=4))
def test_another_process_goes_on_where_one_has_left_off(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("blocks") / "f.h5"
    written = []
    for count in [*counts, None]:
        if not path.exists():
            written += fill(path, count)
    assert written == [0, 1, 2, 3]
    np.testing.assert_array_equal(read_arrays(path, ARRAYS, "k")["images"], IMAGES)


def test_of_a_killed_process_all_that_it_synced_stays(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tests.data.test_array_store import *\n"
        "filling = StoreWriter(Path(sys.argv[1]), ARRAYS, 'k')\n"
        "for block in filling.left[:3]:\n"
        "    filling.write(block, VALUES[block.array][block.start:block.stop])\n"
        "    if block.number == 1: filling.sync()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "f.h5"
    command = [sys.executable, "-c", script, str(path)]
    assert subprocess.run(command, check=False, cwd=REPOSITORY).returncode == -9
    assert fill(path) == [2, 3]
    np.testing.assert_array_equal(read_arrays(path, ARRAYS, "k")["images"], IMAGES)


def test_what_was_begun_of_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    fill(tmp_path / "f.h5", 2, key="other")
    assert fill(tmp_path / "f.h5") == [0, 1, 2, 3]


def test_a_file_of_something_else_is_not_taken(tmp_path: Path) -> None:
    fill(tmp_path / "f.h5", key="other")
    with pytest.raises(DamagedStoreError, match="made of something else"):
        read_arrays(tmp_path / "f.h5", ARRAYS, "k")


@given(st.data())
def test_a_changed_byte_of_an_array_is_noticed(
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
    with pytest.raises(DamagedStoreError, match=f"{name} is damaged"):
        read_arrays(path, ARRAYS, "k")


@given(st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_short_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    path = tmp_path_factory.mktemp("blocks") / "f.h5"
    fill(path)
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(DamagedStoreError):
        read_arrays(path, ARRAYS, "k")


def test_an_array_may_have_no_rows(tmp_path: Path) -> None:
    arrays = {"none": ArraySpec((0, 3), "float32", 4), "one": ArraySpec((1,), "uint8", 4)}
    with StoreWriter(tmp_path / "f.h5", arrays, "k") as filling:
        filling.write(filling.left[0], np.array([7]))
        filling.finish()
    found = read_arrays(tmp_path / "f.h5", arrays, "k")
    assert found["none"].shape == (0, 3)
    assert found["one"].tolist() == [7]


def test_a_full_disk_is_an_error_and_what_was_written_before_stays(tmp_path: Path) -> None:
    fill(tmp_path / "f.h5", 2)
    script = (
        "import resource, sys; from pathlib import Path\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from tests.data.test_array_store import *\n"
        "filling = StoreWriter(Path(sys.argv[1]), ARRAYS, 'k')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))\n"
        "try: filling.write(filling.left[0], IMAGES[8:10])\n"
        "except OSError as error: print(error.strerror)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "f.h5")]
    said = subprocess.run(
        command, check=True, cwd=REPOSITORY, capture_output=True, text=True
    ).stdout
    assert said == "File too large\n"
    assert fill(tmp_path / "f.h5") == [2, 3]


@given(st.integers(0, 20), st.integers(1, 7))
def test_blocks_cover_every_row_once(rows: int, size: int) -> None:
    found = blocks({"a": ArraySpec((rows, 2), "uint8", size), "b": ArraySpec((3,), "uint8", size)})
    covered = [(b.array, row) for b in found for row in range(b.start, b.stop)]
    assert covered == [("a", row) for row in range(rows)] + [("b", row) for row in range(3)]
    assert [b.number for b in found] == list(range(len(found)))


def test_what_was_written_takes_no_more_room(tmp_path: Path) -> None:
    large = {"zeros": ArraySpec((64, 2**14), "float32", 32)}
    assert missing_bytes(tmp_path / "f.h5", large) == 2**22
    with StoreWriter(tmp_path / "f.h5", large, "k") as filling:
        filling.write(filling.left[0], np.ones((32, 2**14)))
        filling.sync()
        assert 2**21 - 2**16 <= missing_bytes(tmp_path / "f.h5", large) <= 2**21
        assert blocks_written(tmp_path / "f.h5") == 1


def test_of_a_file_that_nobody_fills_there_is_no_progress(tmp_path: Path) -> None:
    assert blocks_written(tmp_path / "f.h5") == 0
