"""What is written between two steps can be read again, or is passed over with a warning."""

from __future__ import annotations

import errno
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.errors import UserError
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_progress import remove_checkpoints
from xray_hpc.training.checkpoint_store import Checkpoint, CheckpointStore, Position

ORIGIN = {"run": "cnn-12345678", "keras": "3.15.1", "tensorflow": "2.21.0"}


def files(folder: Path, **origin: str) -> CheckpointStore:
    return CheckpointStore(folder, ORIGIN | origin)


def state(epochs: int, step: int = 0) -> Checkpoint:
    arrays = {
        "model": [np.full((2, 3), epochs, np.float32), np.array([1, 2], np.uint32)],
        "optimizer": [np.array(epochs, np.int64)],
        "best": [],
    }
    remembered = {
        "BestWeights": {"epoch": 0, "best": -math.inf},
        "EarlyStopping": {"best": 0.1 + 0.2},
    }
    return Checkpoint(Position(epochs, step), epochs == 9, 1.5 * epochs, remembered, arrays)


def assert_same(one: Checkpoint | None, other: Checkpoint) -> None:
    assert one is not None
    assert (one.position, one.stopped, one.seconds) == (
        other.position,
        other.stopped,
        other.seconds,
    )
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
    files(tmp_path).save(state(epochs))
    assert_same(files(tmp_path).load_newest(), state(epochs))


def test_there_is_none_before_the_first_epoch(tmp_path: Path) -> None:
    assert files(tmp_path / "checkpoint").load_newest() is None


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".nfs0000000012").write_bytes(b"a file that is removed and still open, on NFS")
    (tmp_path / "epoch-9999-step-000000.npz").mkdir()
    for epochs in range(1, 5):
        files(tmp_path).save(state(epochs))
    kept = ["epoch-0003-step-000000.npz", "epoch-0004-step-000000.npz"]
    assert names(tmp_path) == [".nfs0000000012", *kept, "epoch-9999-step-000000.npz"]


def test_the_newest_two_are_kept_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".x.epoch-0001-step-000000.npz").write_bytes(b"what a killed process left")
    for epochs in (1, 2, 3):
        files(tmp_path).save(state(epochs))
    assert names(tmp_path) == ["epoch-0002-step-000000.npz", "epoch-0003-step-000000.npz"]
    assert_same(files(tmp_path).load_newest(), state(3))


def test_a_training_from_the_first_epoch_leaves_none_of_the_earlier_one(tmp_path: Path) -> None:
    files(tmp_path).save(state(7))
    files(tmp_path).save(state(1))
    assert names(tmp_path) == ["epoch-0001-step-000000.npz"]


def test_a_torn_one_falls_back_to_the_one_before_with_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for epochs in (1, 2):
        files(tmp_path).save(state(epochs))
    torn = tmp_path / "epoch-0002-step-000000.npz"
    torn.write_bytes(torn.read_bytes()[:-100])
    assert_same(files(tmp_path).load_newest(), state(1))
    line = caplog.messages[-1]
    assert str(torn) in line
    assert "previous checkpoint" in line
    last = tmp_path / "epoch-0001-step-000000.npz"
    last.write_bytes(b"")
    assert files(tmp_path).load_newest() is None
    line = caplog.messages[-1]
    assert str(last) in line
    assert "epoch 1" in line


def test_a_torn_one_is_none_of_the_two_that_are_kept(tmp_path: Path) -> None:
    for epochs in (1, 2):
        files(tmp_path).save(state(epochs))
    (tmp_path / "epoch-0002-step-000000.npz").write_bytes(b"torn")
    assert_same(files(tmp_path).load_newest(), state(1))
    files(tmp_path).save(state(1, 7))
    assert names(tmp_path) == ["epoch-0001-step-000000.npz", "epoch-0001-step-000007.npz"]


def test_a_storage_that_does_not_answer_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(tmp_path).save(state(1))

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(np, "load", fail)
        with pytest.raises(OSError, match="Stale"):
            files(tmp_path).load_newest()
    assert_same(files(tmp_path).load_newest(), state(1))


@given(st.data())
def test_a_changed_byte_is_noticed_or_does_not_matter(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files(folder).save(state(2))
        (path,) = folder.iterdir()
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        read = files(folder).load_newest()
        if read is not None:
            assert_same(read, state(2))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"keras": "3.16.0"}, "other software (keras 3.15.1 then, 3.16.0 now)"),
        ({"run": "cnn-87654321"}, "another run (run cnn-12345678 then, cnn-87654321 now)"),
        ({"numpy": "2.4.0"}, "other software (numpy None then, 2.4.0 now)"),
    ],
)
def test_what_would_not_go_on_to_the_same_result_is_refused_with_a_line(
    tmp_path: Path, changed: dict[str, str], told: str
) -> None:
    for epochs in (1, 2):
        files(tmp_path).save(state(epochs))
    with pytest.raises(UserError) as refusal:
        files(tmp_path, **changed).load_newest()
    assert told in str(refusal.value)
    assert f"remove {tmp_path}" in str(refusal.value)


@pytest.mark.parametrize(
    ("position", "words"),
    [
        (Position(2, 0), "the end of epoch 2/9"),
        (Position(2, 4), "epoch 3/9, step 4/5"),
        (Position(2, 5), "epoch 3/9, step 5/5"),
    ],
)
def test_a_position_is_told_in_words(position: Position, words: str) -> None:
    assert position.describe(9, 5) == words


@given(st.lists(st.tuples(st.integers(0, 9999), st.integers(0, 999_999)), min_size=1, unique=True))
def test_the_newest_is_what_was_written_last(positions: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        for position in positions:
            files(Path(name)).save(state(*position))
            newest = files(Path(name)).load_newest()
            assert newest is not None
            assert newest.position == position


def test_a_finished_run_keeps_none(tmp_path: Path) -> None:
    folder = RunPaths(tmp_path).checkpoint_folder
    files(folder).save(state(1))
    remove_checkpoints(RunPaths(tmp_path))
    assert not folder.exists()
