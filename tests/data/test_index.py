from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from xray_hpc.config import DataConfig
from xray_hpc.data.index import fingerprint, scan
from xray_hpc.errors import UserError

MakeConfig = Callable[..., DataConfig]


def test_moving_or_copying_the_tree_keeps_its_fingerprint(
    tree: Path, tmp_path: Path, data_config: MakeConfig
) -> None:
    before = scan(data_config(tree), tmp_path)
    shutil.copytree(tree, tmp_path / "elsewhere" / "copy")
    for root in (tmp_path / "elsewhere" / "copy", tmp_path / "elsewhere"):
        assert scan(data_config(root), tmp_path).fingerprint == before.fingerprint
    assert fingerprint(data_config(tree), tmp_path) == before.fingerprint


def test_an_image_more_or_of_another_size_changes_the_fingerprint(
    tree: Path, tmp_path: Path, data_config: MakeConfig, make_image: Callable[..., None]
) -> None:
    prints = [fingerprint(data_config(tree), tmp_path)]
    make_image(tree / "train/NORMAL/new.png")
    prints.append(fingerprint(data_config(tree), tmp_path))
    make_image(tree / "train/NORMAL/new.png", side=13)
    prints.append(fingerprint(data_config(tree), tmp_path))
    assert len(set(prints)) == 3


def test_the_pack_key_changes_with_times_size_and_channels_only(
    tree: Path, tmp_path: Path, data_config: MakeConfig
) -> None:
    config = data_config(tree)
    index = scan(config, tmp_path)
    assert index.pack_key(config) == index.pack_key(data_config(tree, split="random"))
    keys = {
        index.pack_key(config),
        index.pack_key(data_config(tree, image_size=9)),
        index.pack_key(data_config(tree, channels=3)),
    }
    os.utime(tree / index.entries[0].path, ns=(0, 0))
    touched = scan(config, tmp_path)
    assert touched.fingerprint == index.fingerprint
    keys.add(touched.pack_key(config))
    assert len(keys) == 4


def test_relabelling_a_list_changes_its_fingerprint(
    tree: Path, tmp_path: Path, data_config: MakeConfig
) -> None:
    file = tree / "list.csv"
    rows = ["path,label,split", "train/NORMAL/IM-0001-0001.jpeg,a,train"]
    rows += ["train/NORMAL/IM-0002-0001.jpeg,b,train", "test/NORMAL/IM-0050-0001.jpeg,a,test"]
    prints = []
    for last in ("a,train", "b,train", "b,val"):
        tail = f"train/NORMAL/IM-0003-0001.jpeg,{last}\ntest/NORMAL/IM-0051-0001.jpeg,b,test"
        file.write_text("\n".join([*rows, tail]))
        prints.append(fingerprint(data_config(file, source="csv"), tmp_path))
    assert len(set(prints)) == 3


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("xray", "folder", r"xray' does not exist: no 'xray' in .*; did you mean 'xrays'\?"),
        ("Xrays/train", "folder", r"no 'Xrays' in .*; did you mean 'xrays'\?"),
        ("xrays", "csv", r"xrays' is a folder; data.source=csv needs a CSV file"),
        ("list.csv", "folder", r"list.csv' is not a folder; name the folder that holds train/"),
    ],
)
def test_a_root_that_will_not_do_is_refused(
    tree: Path, tmp_path: Path, data_config: MakeConfig, name: str, source: str, message: str
) -> None:
    (tmp_path / "list.csv").touch()
    with pytest.raises(UserError, match=message):
        scan(data_config(tmp_path / name, source=source), tmp_path / "cache")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tree: Path) -> list[tuple[int, int]]:
    """Stands in for the demo's drawing; holds the (images, seed) of every call."""
    calls: list[tuple[int, int]] = []

    def generate(folder: Path, images: int, seed: int) -> None:
        calls.append((images, seed))
        shutil.copytree(tree, folder, dirs_exist_ok=True)
        if seed == 13:
            raise KeyboardInterrupt

    fake = ModuleType("xray_hpc.data.demo")
    fake.VERSION, fake.generate = 1, generate  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "xray_hpc.data.demo", fake)
    monkeypatch.setattr("xray_hpc.data.demo", fake, raising=False)
    return calls


def test_the_demo_is_drawn_once(
    drawn: list[tuple[int, int]], tmp_path: Path, data_config: MakeConfig
) -> None:
    config = data_config(None, source="demo", demo_images=40, demo_seed=5)
    cache = tmp_path / "cache"
    first, second = scan(config, cache), scan(config, cache)
    assert drawn == [(40, 5)]
    assert first == second
    assert first.root == cache / "demo-v1-40-5"


def test_the_demo_is_identified_without_its_images(
    drawn: list[tuple[int, int]], tmp_path: Path, data_config: MakeConfig
) -> None:
    configs = [
        data_config(None, source="demo", demo_images=images, demo_seed=seed)
        for images, seed in ((40, 0), (40, 1), (41, 0))
    ]
    prints = [fingerprint(config, tmp_path / "cache") for config in configs]
    assert drawn == []
    assert len(set(prints)) == 3
    assert scan(configs[0], tmp_path / "cache").fingerprint == prints[0]


def test_a_demo_interrupted_while_drawn_leaves_nothing(
    drawn: list[tuple[int, int]], tmp_path: Path, data_config: MakeConfig
) -> None:
    config = data_config(None, source="demo", demo_images=40, demo_seed=13)
    with pytest.raises(KeyboardInterrupt):
        scan(config, tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
