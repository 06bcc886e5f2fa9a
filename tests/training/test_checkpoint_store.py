"""Saving and loading checkpoints; damaged ones are skipped with a warning."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import pickle
import random
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.errors import UserError
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_progress import remove_checkpoints
from xray_hpc.training import checkpoint_store
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
        patch.setattr(checkpoint_store, "open_regular", fail)
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


@pytest.fixture
def newest(tmp_path: Path) -> Path:
    """The newest of two checkpoints."""
    for epochs in (1, 2):
        store(tmp_path).save(checkpoint(epochs))
    return tmp_path / "epoch-0002-step-000000.npz"


def assert_falls_back(newest: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Check that the checkpoint before ``newest`` is loaded, with a message."""
    caplog.clear()
    assert_same(store(newest.parent).load_newest(), checkpoint(1))
    (line,) = caplog.messages
    assert str(newest) in line


def test_truncated_file_falls_back(newest: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = newest.read_bytes()
    for length in range(0, len(whole), 10):
        newest.write_bytes(whole[:length])
        assert_falls_back(newest, caplog)
        assert not newest.exists()


def test_damaged_file_falls_back_or_is_the_same(newest: Path) -> None:
    whole, rng = newest.read_bytes(), random.Random(0)
    loaded = []
    for _ in range(1000):
        content = bytearray(whole)
        for at in rng.sample(range(len(content)), rng.choice((1, 1, 2, 8))):
            content[at] ^= rng.randint(1, 255)
        newest.write_bytes(content)
        found = store(newest.parent).load_newest()
        assert found is not None
        assert_same(found, checkpoint(found.position.epoch))
        loaded.append(found.position.epoch)
    assert set(loaded) == {1, 2}


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(
    path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED
) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


class Touch:
    """A file is created when this is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Any, ...]]:
        return (os.mknod, (self.marker,))


def test_pickle_is_never_loaded(
    newest: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marker = tmp_path / "executed"
    objects, whole = np.array([Touch(marker)], dtype=object), newest.read_bytes()
    newest.write_bytes(pickle.dumps(objects))
    assert_falls_back(newest, caplog)
    np.save(newest.with_suffix(".npy"), objects, allow_pickle=True)
    newest.with_suffix(".npy").rename(newest)
    assert_falls_back(newest, caplog)
    for name in ("metadata", "model-0000"):
        newest.write_bytes(whole)
        array = io.BytesIO()
        np.save(array, objects, allow_pickle=True)
        write_members(newest, members(newest) | {f"{name}.npy": array.getvalue()})
        assert_falls_back(newest, caplog)
    assert not marker.exists()


def test_archive_is_never_inflated(newest: Path, caplog: pytest.LogCaptureFixture) -> None:
    array = io.BytesIO()
    np.save(array, np.zeros(2**24, np.uint8))
    content = members(newest) | {"model-0000.npy": array.getvalue()}
    del array
    write_members(newest, content, zipfile.ZIP_DEFLATED)
    del content
    tracemalloc.start()
    assert_falls_back(newest, caplog)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_array_is_not_larger_than_its_member(
    newest: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = members(newest)
    header = content["model-0000.npy"]
    content["model-0000.npy"] = header.replace(b"(2, 3), }          ", b"(2, 3000000000000), ")
    assert content["model-0000.npy"] != header
    write_members(newest, content)
    assert_falls_back(newest, caplog)


@pytest.mark.parametrize(
    "changes",
    [
        *({"position": value} for value in (None, [1], [2, 0, 0], ["2", "0"], [2.0, 0], [-1, 0])),
        {"position": [1, 0]},  # as the previous checkpoint is named
        *({"stopped": value} for value in (None, 0, "false")),
        *({"seconds": value} for value in (None, "1", math.nan, math.inf, 10**400)),
        *({"callbacks": value} for value in (None, [], {"BestWeights": 3})),
        *({"arrays": value} for value in (None, [3], {"model": "2"}, {"model": 10**12})),
        *({"identity": value} for value in (None, "cnn", {"run": 3})),
        {"unknown": 1},
    ],
)
def test_invalid_metadata_falls_back(
    newest: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]
) -> None:
    content = members(newest)
    with np.load(newest, allow_pickle=False) as archive:
        metadata = json.loads(str(archive["metadata"]))
    array = io.BytesIO()
    np.save(array, np.array(json.dumps(metadata | changes)))
    write_members(newest, content | {"metadata.npy": array.getvalue()})
    assert_falls_back(newest, caplog)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", 100_000 * "[", '{"position": NaN}'], ids=lambda text: text[:9]
)
def test_metadata_that_is_no_object_falls_back(
    newest: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    array = io.BytesIO()
    np.save(array, np.array(text))
    write_members(newest, members(newest) | {"metadata.npy": array.getvalue()})
    assert_falls_back(newest, caplog)


@pytest.mark.parametrize(
    "replace",
    [
        os.mkfifo,
        os.mkdir,
        lambda path: os.symlink(path, path),
        lambda path: os.symlink("/dev/zero", path),
    ],
    ids=["FIFO", "folder", "link to itself", "device"],
)
def test_anything_but_a_file_is_ignored(
    newest: Path, caplog: pytest.LogCaptureFixture, replace: Callable[[Path], None]
) -> None:
    newest.unlink()
    replace(newest)
    assert_falls_back(newest, caplog)
    store(newest.parent).save(checkpoint(2, 7))
    assert_same(store(newest.parent).load_newest(), checkpoint(2, 7))


def test_sparse_file_is_not_read(newest: Path, caplog: pytest.LogCaptureFixture) -> None:
    with newest.open("r+b") as file:
        file.truncate(40 * 2**30)
    assert_falls_back(newest, caplog)


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
