"""Archives and weights files that Keras did not write, or that are damaged."""

from __future__ import annotations

import errno
import io
import os
import random
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from xray_hpc.errors import DataError, StorageError, UserError
from xray_hpc.models.keras_archive import MAX_BYTES, check_weights, read_member

MEMBERS = {"config.json": b'{"a": 1}', "model.weights.h5": b"weights", "xray_hpc.json": b"{}"}


def write(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return write(tmp_path / "model.keras", MEMBERS)


def test_read_member_returns_the_content_of_a_member(saved: Path) -> None:
    assert {name: read_member(saved, name) for name in MEMBERS} == MEMBERS
    assert read_member(saved, "metadata.json") is None


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", MAX_BYTES)
def test_read_member_never_inflates_an_archive(tmp_path: Path, name: str, compression: int) -> None:
    bomb = write(tmp_path / "model.keras", {name: bytes(2**24)}, compression)
    tracemalloc.start()
    with pytest.raises(DataError, match=rf"^{name} in {bomb} "):
        read_member(bomb, name)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def central_directory(archive: bytes) -> int:
    return archive.rindex(b"PK\x01\x02")


@pytest.mark.parametrize(
    ("offset", "value"), [(8, b"\1\0"), (10, b"\x63\0")], ids=["encrypted", "unknown compression"]
)
def test_read_member_rejects_what_it_cannot_decode(saved: Path, offset: int, value: bytes) -> None:
    content = bytearray(saved.read_bytes())
    at = central_directory(bytes(content)) + offset
    content[at : at + 2] = value
    saved.write_bytes(content)
    with pytest.raises(DataError, match=rf"^xray_hpc\.json in {saved} "):
        read_member(saved, "xray_hpc.json")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"../../evil": b""}, "'../../evil'"),
        ({"assets/x": b""}, "'assets/x'"),
        ({"model.weights.npz": b""}, "'model.weights.npz'"),
        ({"xray_hpc.json": bytes(2**20 + 1)}, r"^xray_hpc\.json in .* 1 MiB"),
        ({"config.json": bytes(2**24 + 1)}, r"^config\.json in .* 16 MiB"),
    ],
)
def test_read_member_rejects_other_members(
    tmp_path: Path, members: dict[str, bytes], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_member(write(tmp_path / "model.keras", MEMBERS | members), "config.json")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_read_member_rejects_two_members_of_one_name(saved: Path) -> None:
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("xray_hpc.json", b"[]")
    with pytest.raises(DataError, match=rf"^{saved} "):
        read_member(saved, "xray_hpc.json")


def test_damaged_archive_is_rejected_or_harmless(saved: Path) -> None:
    whole, rng = saved.read_bytes(), random.Random(0)
    damaged = [whole[:length] for length in range(len(whole))]
    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= rng.randint(1, 255)
        damaged.append(bytes(flipped))
    rejected = 0
    for content in damaged:
        saved.write_bytes(content)
        try:
            read = {name: read_member(saved, name) for name in MEMBERS}
        except UserError:
            rejected += 1
        else:
            assert all(read[name] in (None, MEMBERS[name]) for name in MEMBERS)
    assert rejected > len(whole)


def test_read_member_opens_regular_files_only(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    os.mkfifo(path)
    with pytest.raises(StorageError, match=str(path)):
        read_member(path, "config.json")
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(StorageError, match=os.strerror(errno.ELOOP)):
        read_member(path, "config.json")
    path.unlink()
    with path.open("wb") as sparse:
        sparse.truncate(40 * 2**30)
    with pytest.raises(DataError, match=rf"^{path} "):
        read_member(path, "config.json")


NAME = "layers/dense/vars/0"


def hdf5(change: Callable[[h5py.File], None] = lambda weights: None) -> io.BytesIO:
    """Return an HDF5 file with one array, after ``change``."""
    content = io.BytesIO()
    with h5py.File(content, "w") as weights:
        weights[NAME] = np.ones((64, 1), np.float32)
        weights["layers/dense/vars/1"] = np.float32(1)
        weights["empty"] = np.zeros((0, 4), np.float32)
        change(weights)
    return content


def test_check_weights_accepts_what_keras_writes() -> None:
    check_weights(hdf5())


def soft_link(weights: h5py.File) -> None:
    weights["link"] = h5py.SoftLink(f"/{NAME}")


def external_link(weights: h5py.File) -> None:
    weights["link"] = h5py.ExternalLink("/etc/passwd", "/x")


def external_group(weights: h5py.File) -> None:
    del weights["layers"]
    weights["layers"] = h5py.ExternalLink("other.h5", "/layers")


def external_data(weights: h5py.File) -> None:
    weights.create_dataset("other", (8,), "u1", external=[("/etc/passwd", 0, 8)])


def virtual_data(weights: h5py.File) -> None:
    layout = h5py.VirtualLayout((8,), "u1")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (8,))
    weights.create_virtual_dataset("virtual", layout)


def compressed(weights: h5py.File) -> None:
    weights.create_dataset("bomb", (2**28,), "u1", chunks=(2**20,), compression="gzip")


def unwritten(weights: h5py.File) -> None:
    weights.create_dataset("bomb", (2**40,), "f4")


@pytest.mark.parametrize(
    ("change", "array"),
    [
        (soft_link, "link"),
        (external_link, "link"),
        (external_group, "layers"),
        (external_data, "other"),
        (virtual_data, "virtual"),
        (compressed, "bomb"),
        (unwritten, "bomb"),
    ],
)
def test_check_weights_rejects_arrays_outside_the_file(
    change: Callable[[h5py.File], None], array: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{array} "):
        check_weights(hdf5(change))


def test_check_weights_ends_for_a_group_that_contains_itself() -> None:
    def contain_itself(weights: h5py.File) -> None:
        weights["layers/cycle"] = weights["layers"]

    check_weights(hdf5(contain_itself))
