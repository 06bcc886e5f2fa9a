"""Saving and loading checkpoints; damaged ones are skipped with a warning."""

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

IDENTITY = {"run": "cnn-12345678", "keras": "3.15.1", "tensorflow": "2.21.0"}


def store(folder: Path, **identity: str) -> CheckpointStore:
    return CheckpointStore(folder, IDENTITY | identity)


def checkpoint(epochs: int, step: int = 0) -> Checkpoint:
    arrays = {
        "model": [np.full((2, 3), epochs, np.float32), np.array([1, 2], np.uint32)],
        "optimizer": [np.array(epochs, np.int64)],
        "best": [],
    }
    attributes = {
        "BestWeights": {"epoch": 0, "best": -math.inf},
        "EarlyStopping": {"best": 0.1 + 0.2},
    }
    return Checkpoint(Position(epochs, step), epochs == 9, 1.5 * epochs, attributes, arrays)


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
def test_load_newest_returns_what_was_saved(tmp_path: Path, epochs: int) -> None:
    store(tmp_path).save(checkpoint(epochs))
    assert_same(store(tmp_path).load_newest(), checkpoint(epochs))


def test_load_newest_is_none_without_files(tmp_path: Path) -> None:
    assert store(tmp_path / "checkpoint").load_newest() is None


def test_save_ignores_foreign_files(tmp_path: Path) -> None:
    (tmp_path / ".nfs0000000012").write_bytes(b"a removed file that is still open on NFS")
    (tmp_path / "epoch-9999-step-000000.npz").mkdir()
    for epochs in range(1, 5):
        store(tmp_path).save(checkpoint(epochs))
    retained = ["epoch-0003-step-000000.npz", "epoch-0004-step-000000.npz"]
    assert names(tmp_path) == [".nfs0000000012", *retained, "epoch-9999-step-000000.npz"]


def test_save_retains_the_newest_two(tmp_path: Path) -> None:
    (tmp_path / ".x.epoch-0001-step-000000.npz").write_bytes(b"of a killed process")
    for epochs in (1, 2, 3):
        store(tmp_path).save(checkpoint(epochs))
    assert names(tmp_path) == ["epoch-0002-step-000000.npz", "epoch-0003-step-000000.npz"]
    assert_same(store(tmp_path).load_newest(), checkpoint(3))


def test_save_removes_later_positions(tmp_path: Path) -> None:
    store(tmp_path).save(checkpoint(7))
    store(tmp_path).save(checkpoint(1))
    assert names(tmp_path) == ["epoch-0001-step-000000.npz"]


def test_damaged_file_falls_back_to_the_previous_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for epochs in (1, 2):
        store(tmp_path).save(checkpoint(epochs))
    torn = tmp_path / "epoch-0002-step-000000.npz"
    torn.write_bytes(torn.read_bytes()[:-100])
    assert_same(store(tmp_path).load_newest(), checkpoint(1))
    line = caplog.messages[-1]
    assert str(torn) in line
    assert "previous checkpoint" in line
    last = tmp_path / "epoch-0001-step-000000.npz"
    last.write_bytes(b"")
    assert store(tmp_path).load_newest() is None
    line = caplog.messages[-1]
    assert str(last) in line
    assert "epoch 1" in line


def test_damaged_file_is_not_one_of_the_newest_two(tmp_path: Path) -> None:
    for epochs in (1, 2):
        store(tmp_path).save(checkpoint(epochs))
    (tmp_path / "epoch-0002-step-000000.npz").write_bytes(b"torn")
    assert_same(store(tmp_path).load_newest(), checkpoint(1))
    store(tmp_path).save(checkpoint(1, 7))
    assert names(tmp_path) == ["epoch-0001-step-000000.npz", "epoch-0001-step-000007.npz"]


def test_storage_error_is_not_treated_as_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path).save(checkpoint(1))

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(np, "load", fail)
        with pytest.raises(OSError, match="Stale"):
            store(tmp_path).load_newest()
    assert_same(store(tmp_path).load_newest(), checkpoint(1))


@pytest.mark.parametrize("at", [-7, -10], ids=["a negative offset", "a wrong offset"])
def test_damaged_directory_of_the_archive_is_damage_not_a_failure_of_the_disk(
    tmp_path: Path, at: int
) -> None:
    """The zip module then seeks to a negative position, which is an ``OSError``."""
    for epoch in (1, 2):
        store(tmp_path).save(checkpoint(epoch))
    newest = max(tmp_path.iterdir())
    content = bytearray(newest.read_bytes())
    content[at] ^= 255
    newest.write_bytes(content)
    assert_same(store(tmp_path).load_newest(), checkpoint(1))


@given(st.data())
def test_changed_byte_is_detected_or_harmless(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store(folder).save(checkpoint(2))
        (path,) = folder.iterdir()
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        read = store(folder).load_newest()
        if read is not None:
            assert_same(read, checkpoint(2))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"keras": "3.16.0"}, "other software (keras 3.15.1 then, 3.16.0 now)"),
        ({"run": "cnn-87654321"}, "another run (run cnn-12345678 then, cnn-87654321 now)"),
        ({"numpy": "2.4.0"}, "other software (numpy unset then, 2.4.0 now)"),
    ],
)
def test_changed_identity_is_refused(tmp_path: Path, changed: dict[str, str], message: str) -> None:
    for epochs in (1, 2):
        store(tmp_path).save(checkpoint(epochs))
    with pytest.raises(UserError) as refusal:
        store(tmp_path, **changed).load_newest()
    assert message in str(refusal.value)
    assert f"remove {tmp_path}" in str(refusal.value)


@pytest.mark.parametrize(
    ("position", "text"),
    [
        (Position(2, 0), "the end of epoch 2/9"),
        (Position(2, 4), "epoch 3/9, step 4/5"),
        (Position(2, 5), "epoch 3/9, step 5/5"),
    ],
)
def test_position_describe(position: Position, text: str) -> None:
    assert position.describe(9, 5) == text


@given(st.lists(st.tuples(st.integers(0, 9999), st.integers(0, 999_999)), min_size=1, unique=True))
def test_load_newest_returns_the_last_save(positions: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        for position in positions:
            store(Path(name)).save(checkpoint(*position))
            newest = store(Path(name)).load_newest()
            assert newest is not None
            assert newest.position == position


def test_remove_checkpoints_removes_the_folder(tmp_path: Path) -> None:
    folder = RunPaths(tmp_path).checkpoint_folder
    store(folder).save(checkpoint(1))
    remove_checkpoints(RunPaths(tmp_path))
    assert not folder.exists()
