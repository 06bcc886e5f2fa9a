"""What is written after an epoch can be read again, or is passed over with a warning."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.training.checkpoint import State, newest_state, remove_states, write_state

VERSIONS = {"keras": "3.15.1", "tensorflow": "2.21.0"}


def state(epochs: int) -> State:
    arrays = {
        "model": [np.full((2, 3), epochs, np.float32), np.array([1, 2], np.uint32)],
        "optimizer": [np.array(epochs, np.int64)],
        "best": [],
    }
    remembered = {"Keep": {"epoch": 0, "best": -math.inf}, "EarlyStopping": {"best": 0.1 + 0.2}}
    return State(epochs, epochs == 9, 1.5 * epochs, remembered, arrays)


def assert_same(one: State | None, other: State) -> None:
    assert one is not None
    assert (one.epochs, one.over, one.seconds) == (other.epochs, other.over, other.seconds)
    assert one.callbacks == other.callbacks
    assert one.arrays.keys() == other.arrays.keys()
    for group, arrays in other.arrays.items():
        for mine, array in zip(one.arrays[group], arrays, strict=True):
            assert mine.dtype == array.dtype
            np.testing.assert_array_equal(mine, array)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("epochs", [1, 9])
def test_a_state_is_read_as_it_was_written(tmp_path: Path, epochs: int) -> None:
    write_state(tmp_path, state(epochs), VERSIONS)
    assert_same(newest_state(tmp_path, VERSIONS), state(epochs))


def test_there_is_none_before_the_first_epoch(tmp_path: Path) -> None:
    assert newest_state(tmp_path / "checkpoint", VERSIONS) is None


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".nfs0000000012").write_bytes(b"a file that is removed and still open, on NFS")
    (tmp_path / "epoch-9999.npz").mkdir()
    for epochs in range(1, 5):
        write_state(tmp_path, state(epochs), VERSIONS)
    kept = ["epoch-0002.npz", "epoch-0003.npz"]
    assert names(tmp_path) == [".nfs0000000012", *kept, "epoch-9999.npz"]


def test_the_newest_two_are_kept_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".x.epoch-0000.npz").write_bytes(b"what a killed process left")
    for epochs in (1, 2, 3):
        write_state(tmp_path, state(epochs), VERSIONS)
    assert names(tmp_path) == ["epoch-0001.npz", "epoch-0002.npz"]
    assert_same(newest_state(tmp_path, VERSIONS), state(3))


def test_a_training_from_the_first_epoch_leaves_none_of_the_earlier_one(tmp_path: Path) -> None:
    write_state(tmp_path, state(7), VERSIONS)
    write_state(tmp_path, state(1), VERSIONS)
    assert names(tmp_path) == ["epoch-0000.npz"]


def test_a_torn_one_falls_back_to_the_one_before_with_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for epochs in (1, 2):
        write_state(tmp_path, state(epochs), VERSIONS)
    torn = tmp_path / "epoch-0001.npz"
    torn.write_bytes(torn.read_bytes()[:-100])
    assert_same(newest_state(tmp_path, VERSIONS), state(1))
    assert capsys.readouterr().err == (
        f"warning: {torn} cannot be read (it is damaged); going back to the checkpoint before\n"
    )
    (tmp_path / "epoch-0000.npz").write_bytes(b"")
    assert newest_state(tmp_path, VERSIONS) is None


@given(st.data())
def test_a_changed_byte_is_noticed_or_does_not_matter(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_state(folder, state(2), VERSIONS)
        (path,) = folder.iterdir()
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        read = newest_state(folder, VERSIONS)
        if read is not None:
            assert_same(read, state(2))


def test_other_software_starts_from_the_first_epoch_with_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for epochs in (1, 2):
        write_state(tmp_path, state(epochs), VERSIONS)
    assert newest_state(tmp_path, VERSIONS | {"keras": "3.16.0"}) is None
    assert capsys.readouterr().err == (
        f"warning: {tmp_path / 'epoch-0001.npz'} is of other software "
        "(keras 3.15.1 then, 3.16.0 now); training from the first epoch\n"
    )


def test_a_finished_run_keeps_none(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    write_state(folder, state(1), VERSIONS)
    remove_states(folder)
    assert not folder.exists()
