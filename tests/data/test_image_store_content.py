"""Stores with the right key and the right checksums, whose content is still not right."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from xray_hpc.config.run_config import DataConfig
from xray_hpc.data import array_writer
from xray_hpc.data.array_store import CHECKSUMS, WRITTEN, blocks
from xray_hpc.data.array_writer import StoreWriter
from xray_hpc.data.dataset import load_dataset
from xray_hpc.data.image_store import load_image_store
from xray_hpc.data.index import build_index
from xray_hpc.data.private_cache import CacheDeniedError
from xray_hpc.data.stored_images import are_positions, image_store_path, image_store_specs

MakeConfig = Callable[..., DataConfig]
Arrays = dict[str, np.ndarray[Any, Any]]


def store_of(config: DataConfig, cache: Path) -> Path:
    return image_store_path(build_index(config, cache), config, cache)


def rewrite(config: DataConfig, cache: Path, change: Callable[[Arrays], None]) -> Path:
    """Change the arrays of a store and write it again, as a wrong program would."""
    index = build_index(config, cache)
    path = image_store_path(index, config, cache)
    with h5py.File(path) as file:
        arrays = {name: file[name][:] for name in file if name not in (CHECKSUMS, WRITTEN)}
    change(arrays)
    path.unlink()
    specs = image_store_specs(index, config)
    with StoreWriter(path, specs, index.store_key(config)) as writer:
        for block in blocks(specs):
            writer.write(block, arrays[block.array][block.start : block.stop])
        writer.finish()
    return path


def reverse_images(arrays: Arrays) -> None:
    arrays["images"] = arrays["images"][::-1]


def reverse_rows(arrays: Arrays) -> None:
    for name in ("images", "digests", "largest"):
        arrays[name] = arrays[name][::-1]


def exchange_positions(arrays: Arrays) -> None:
    arrays["positions"][[5, 6]] = arrays["positions"][[6, 5]]


def exchange_digests(arrays: Arrays) -> None:
    arrays["digests"][[0, 6]] = arrays["digests"][[6, 0]]


def position(row: int, value: int) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays["positions"][row] = value

    change.__name__ = f"position_{row}_is_{value}"
    return change


def most_are_missing(arrays: Arrays) -> None:
    arrays["positions"][10:] = -1


def negative_grey_value(arrays: Arrays) -> None:
    arrays["largest"][3] = -1


def huge_grey_value(arrays: Arrays) -> None:
    arrays["largest"][3] = 2**40


@pytest.mark.parametrize(
    "change",
    [
        *(reverse_images, reverse_rows, exchange_positions, exchange_digests),
        *(position(0, -1), position(4, -2), position(4, 5), position(4, 48), position(4, 2**62)),
        *(most_are_missing, negative_grey_value, huge_grey_value),
    ],
)
def test_store_that_is_not_of_these_images_is_made_again(
    tree: Path, tmp_path: Path, data_config: MakeConfig, change: Callable[[Arrays], None]
) -> None:
    config, cache = data_config(tree), tmp_path / "cache"
    right = load_dataset(config, cache).images.copy()
    rewrite(config, cache, change)
    again = load_dataset(config, cache)
    np.testing.assert_array_equal(again.images, right)
    (note,) = again.notes
    assert str(cache) in note
    assert load_dataset(config, cache).notes == []


def test_rewritten_store_without_a_change_is_used(
    tree: Path, tmp_path: Path, data_config: MakeConfig
) -> None:
    config, cache = data_config(tree), tmp_path / "cache"
    load_dataset(config, cache)
    path = rewrite(config, cache, lambda arrays: None)
    before = path.stat().st_ino
    assert load_dataset(config, cache).notes == []
    assert path.stat().st_ino == before


def replace(file: h5py.File, name: str, **how: Any) -> None:
    values = file[name][:]
    del file[name]
    file.create_dataset(name, data=values.reshape(how.pop("shape", values.shape)), **how)


def another_rank(file: h5py.File, folder: Path) -> None:
    replace(file, "images", shape=(48, 64))


def another_type(file: h5py.File, folder: Path) -> None:
    replace(file, "positions", dtype="float64")


def compressed(file: h5py.File, folder: Path) -> None:
    replace(file, "images", compression="gzip")


def a_group(file: h5py.File, folder: Path) -> None:
    del file["images"]
    file.create_group("images")


def link_to_another_file(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["images"] = file["images"][:]
    del file["images"]
    file["images"] = h5py.ExternalLink(str(folder / "other.h5"), "images")


def values_in_another_file(file: h5py.File, folder: Path) -> None:
    values = file["positions"][:]
    (folder / "raw").write_bytes(values.tobytes())
    del file["positions"]
    external = [(str(folder / "raw"), 0, values.nbytes)]
    file.create_dataset("positions", values.shape, values.dtype, external=external)


@pytest.mark.parametrize(
    "change",
    [
        *(another_rank, another_type, compressed, a_group),
        *(link_to_another_file, values_in_another_file),
    ],
)
def test_store_of_another_layout_is_made_again(
    tree: Path, tmp_path: Path, data_config: MakeConfig, change: Callable[[h5py.File, Path], None]
) -> None:
    config, cache = data_config(tree), tmp_path / "cache"
    right = load_dataset(config, cache).images.copy()
    with h5py.File(store_of(config, cache), "r+") as file:
        change(file, tmp_path)
    again = load_dataset(config, cache)
    np.testing.assert_array_equal(again.images, right)
    (note,) = again.notes
    assert str(cache) in note


def test_unfinished_store_with_wrong_positions_is_begun_again(
    tree: Path, tmp_path: Path, data_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xray_hpc.data.stored_images.BLOCK_BYTES", 4 * 8 * 8)
    config, cache = data_config(tree), tmp_path / "cache"
    right = load_dataset(config, cache).images.copy()
    path = rewrite(config, cache, position(4, 2**62))
    os.replace(path, path.with_name(f".{path.name}.partial"))
    np.testing.assert_array_equal(load_dataset(config, cache).images, right)


def test_file_that_cannot_be_read_here_is_not_compared(
    tree: Path, tmp_path: Path, data_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who shares a cache may be denied the images themselves."""
    config, cache = data_config(tree), tmp_path / "cache"
    index = build_index(config, cache)
    right = load_image_store(index, config, cache)[0].images.copy()
    for entry in index.entries:
        (tree / entry.path).rename(tree / f"{entry.path}.gone")
    store, notes = load_image_store(index, config, cache)
    np.testing.assert_array_equal(store.images, right)
    assert notes == []


@pytest.mark.parametrize(
    ("rows", "valid"),
    [
        ([0, 1, 2], True),
        ([0, 2, -1], True),
        ([-1, -1, -1], True),
        ([0, -1, 2], False),
        ([1, 0, 2], False),
        ([0, 0, 1], False),
        ([0, 1, 3], False),
        ([-2, 0, 1], False),
        ([-(2**63), 0, 2**63 - 1], False),
    ],
)
def test_positions_increase_within_the_index(rows: list[int], valid: bool) -> None:
    assert are_positions(np.array(rows), 3) == valid


@pytest.fixture
def umask_000() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask_000")
def test_own_store_that_everybody_may_write_is_made_anew(
    tree: Path, tmp_path: Path, data_config: MakeConfig
) -> None:
    config = data_config(tree)
    index = build_index(config, tmp_path)
    path = store_of(config, tmp_path)
    assert load_image_store(index, config, tmp_path)[1] == []
    path.chmod(0o666)
    (note,) = load_image_store(index, config, tmp_path)[1]
    assert str(path) in note
    assert not path.stat().st_mode & 0o002
    assert load_image_store(index, config, tmp_path)[1] == []


def test_cache_on_a_file_system_that_lets_everybody_write_is_denied(
    tree: Path, tmp_path: Path, data_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    config, cache = data_config(tree), tmp_path / "cache"
    monkeypatch.setattr(array_writer, "share", lambda file, _: os.fchmod(file, 0o666))
    with pytest.raises(CacheDeniedError, match=re.escape(f"{cache}/.images-")):
        load_image_store(build_index(config, cache), config, cache)
    assert not list(tmp_path.glob("**/*.h5*.partial"))


@pytest.mark.usefixtures("umask_000")
def test_demo_is_used_again_whatever_the_umask(tmp_path: Path, data_config: MakeConfig) -> None:
    config = data_config(None, source="demo", demo_images=40, demo_seed=1)
    first = build_index(config, tmp_path)
    assert build_index(config, tmp_path) == first
    first.root.chmod(0o777)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
        assert build_index(config, tmp_path).root.is_relative_to(tmp_path / "home")
