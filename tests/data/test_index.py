from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from xray_hpc.config.run_config import DataConfig
from xray_hpc.data.index import build_index, survey
from xray_hpc.errors import ConfigError, UserError
from xray_hpc.synthetic import demo_dataset

MakeConfig = Callable[..., DataConfig]


def test_fingerprint_of_a_copy_is_the_same(
    tree: Path, tmp_path: Path, data_config: MakeConfig
) -> None:
    before = build_index(data_config(tree), tmp_path)
    shutil.copytree(tree, tmp_path / "elsewhere" / "copy")
    for root in (tmp_path / "elsewhere" / "copy", tmp_path / "elsewhere"):
        assert build_index(data_config(root), tmp_path).fingerprint == before.fingerprint


def test_fingerprint_depends_on_images_and_sizes(
    tree: Path, tmp_path: Path, data_config: MakeConfig, make_image: Callable[..., None]
) -> None:
    fingerprints = [build_index(data_config(tree), tmp_path).fingerprint]
    make_image(tree / "train/NORMAL/new.png")
    fingerprints.append(build_index(data_config(tree), tmp_path).fingerprint)
    make_image(tree / "train/NORMAL/new.png", side=13)
    fingerprints.append(build_index(data_config(tree), tmp_path).fingerprint)
    assert len(set(fingerprints)) == 3


def test_store_key_depends_on_times_and_image_format(
    tree: Path, tmp_path: Path, data_config: MakeConfig
) -> None:
    config = data_config(tree)
    index = build_index(config, tmp_path)
    same = data_config(tree, split="random", crop=0.5, per_class=10)
    assert index.store_key(config) == index.store_key(same)
    keys = {
        index.store_key(config),
        index.store_key(data_config(tree, image_size=9)),
        index.store_key(data_config(tree, channels=3)),
        index.store_key(data_config(tree, clahe=2.0)),
    }
    os.utime(tree / index.entries[0].path, ns=(0, 0))
    touched = build_index(config, tmp_path)
    assert touched.fingerprint == index.fingerprint
    keys.add(touched.store_key(config))
    assert len(keys) == 5


def test_fingerprint_depends_on_labels_and_splits(
    tree: Path, tmp_path: Path, data_config: MakeConfig
) -> None:
    file = tree / "list.csv"
    rows = ["path,label,split", "train/NORMAL/IM-0001-0001.jpeg,a,train"]
    rows += ["train/NORMAL/IM-0002-0001.jpeg,b,train", "test/NORMAL/IM-0050-0001.jpeg,a,test"]
    fingerprints = []
    for last in ("a,train", "b,train", "b,val"):
        last_rows = f"train/NORMAL/IM-0003-0001.jpeg,{last}\ntest/NORMAL/IM-0051-0001.jpeg,b,test"
        file.write_text("\n".join([*rows, last_rows]))
        fingerprints.append(build_index(data_config(file, source="csv"), tmp_path).fingerprint)
    assert len(set(fingerprints)) == 3


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("xray", "folder", r"xray' does not exist: no 'xray' in .*; did you mean 'xrays'\?"),
        ("Xrays/train", "folder", r"no 'Xrays' in .*; did you mean 'xrays'\?"),
        ("xrays", "csv", r"xrays' is a folder; data=csv needs a CSV file"),
        ("list.csv", "folder", r"list.csv' is not a folder"),
    ],
)
def test_build_index_rejects_an_invalid_root(
    tree: Path, tmp_path: Path, data_config: MakeConfig, name: str, source: str, message: str
) -> None:
    (tmp_path / "list.csv").touch()
    with pytest.raises(UserError, match=message):
        build_index(data_config(tmp_path / name, source=source), tmp_path / "cache")


def test_build_index_rejects_reserved_class_names(
    tree: Path, tmp_path: Path, data_config: MakeConfig
) -> None:
    for split in tree.iterdir():
        (split / "NORMAL").rename(split / "macro average")
    with pytest.raises(UserError, match="has a class 'macro average'"):
        build_index(data_config(tree), tmp_path)


def test_survey_of_a_folder(
    tree: Path, tmp_path: Path, data_config: MakeConfig, make_image: Callable[..., None]
) -> None:
    for part in ("train", "test"):
        make_image(tree / part / "COVID/a.png")
    found = survey(data_config(tree), tmp_path)
    assert found.fingerprint == build_index(data_config(tree), tmp_path).fingerprint
    assert found.classes == 3
    assert found.images == {"train": (1, 20, 20), "validation": (0, 1, 1), "test": (1, 3, 3)}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tree: Path) -> list[tuple[int, int, int]]:
    """Replace the drawing of the demo; return the (images, seed, classes) of every call.

    It has 48 images.
    """
    calls: list[tuple[int, int, int]] = []

    def generate(folder: Path, images: int, seed: int, classes: int) -> None:
        calls.append((images, seed, classes))
        shutil.copytree(tree, folder, dirs_exist_ok=True)
        if seed == 13:
            raise KeyboardInterrupt

    monkeypatch.setattr(demo_dataset, "generate", generate)
    return calls


def test_build_index_draws_the_demo_once(
    drawn: list[tuple[int, int, int]], tmp_path: Path, data_config: MakeConfig
) -> None:
    config = data_config(None, source="demo", demo_images=48, demo_seed=5)
    cache = tmp_path / "cache"
    first, second = build_index(config, cache), build_index(config, cache)
    assert drawn == [(48, 5, 2)]
    assert first == second
    assert first.root == cache / "demo-v1-48-5"


def test_build_index_demo_of_three_classes_has_its_own_folder(
    drawn: list[tuple[int, int, int]], tmp_path: Path, data_config: MakeConfig
) -> None:
    config = data_config(None, source="demo", demo_images=48, demo_seed=5, demo_classes=3)
    assert build_index(config, tmp_path / "cache").root == tmp_path / "cache/demo-v1-48-5-3"
    assert drawn == [(48, 5, 3)]


def test_survey_does_not_draw_the_demo(
    drawn: list[tuple[int, int, int]], tmp_path: Path, data_config: MakeConfig
) -> None:
    configs = [
        data_config(None, source="demo", demo_images=images, demo_seed=seed, demo_classes=classes)
        for images, seed, classes in ((48, 0, 2), (48, 1, 2), (51, 0, 2), (48, 0, 3))
    ]
    found = [survey(config, tmp_path / "cache") for config in configs]
    assert drawn == []
    assert len({one.fingerprint for one in found}) == 4
    assert found[0].images == {"train": (15, 23), "validation": (0, 0), "test": (4, 6)}
    assert [one.classes for one in found] == [2, 2, 2, 3]
    assert build_index(configs[0], tmp_path / "cache").fingerprint == found[0].fingerprint


def test_survey_demo_fingerprint_is_pinned(tmp_path: Path, data_config: MakeConfig) -> None:
    config = data_config(None, source="demo", demo_images=800, demo_seed=0)
    assert survey(config, tmp_path).fingerprint.startswith("0663dd8ed7be")


@pytest.mark.parametrize("images", [40, 41, 800])
@pytest.mark.parametrize("classes", [2, 3])
def test_count_images_matches_the_drawn_demo(images: int, classes: int) -> None:
    names = sorted(set(demo_dataset.CLASSES[classes].values()))
    planned = Counter(path.parts[:2] for path, _, _ in demo_dataset.plan(images, 0, classes))
    for part, counts in demo_dataset.count_images(images, classes).items():
        assert counts == tuple(planned[part, name] for name in names)


def test_build_index_interrupted_demo_leaves_no_folder(
    drawn: list[tuple[int, int, int]], tmp_path: Path, data_config: MakeConfig
) -> None:
    config = data_config(None, source="demo", demo_images=40, demo_seed=13)
    with pytest.raises(KeyboardInterrupt):
        build_index(config, tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


@pytest.mark.parametrize("source", ["folder", "csv"])
@pytest.mark.parametrize(
    ("root", "reason"),
    [
        ("x" * 300, os.strerror(errno.ENAMETOOLONG)),
        ("x/" * 3000, os.strerror(errno.ENAMETOOLONG)),
        ("loop", os.strerror(errno.ELOOP)),
        ("broken", "'broken'"),
        ("film.png/train", "'train'|'film.png'"),
    ],
)
def test_build_index_root_that_cannot_be_found_is_one_line(
    tmp_path: Path, data_config: MakeConfig, source: str, root: str, reason: str
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "broken").symlink_to("gone")
    (tmp_path / "film.png").touch()
    with pytest.raises(ConfigError, match=reason):
        build_index(data_config(tmp_path / root, source=source), tmp_path)


def test_demo_that_lacks_images_is_one_line(tmp_path: Path, data_config: MakeConfig) -> None:
    config = data_config(None, source="demo", demo_images=40, demo_seed=0)
    next(build_index(config, tmp_path).root.glob("train/NORMAL/*")).unlink()
    with pytest.raises(UserError, match=r"demo-v1-40-0 .* 39 .* 40 "):
        build_index(config, tmp_path)


def test_demo_left_by_a_killed_process_is_removed_by_the_next(
    tmp_path: Path, data_config: MakeConfig
) -> None:
    left = tmp_path / ".demo-v1-40-0.drawing-x" / "images"
    left.mkdir(parents=True)
    (left / "a.jpeg").touch()
    build_index(data_config(None, source="demo", demo_images=40, demo_seed=0), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"demo-v1-40-0", ".demo-v1-40-0.lock"}
