"""Compare ``data.split=random`` with Keras; the only file here that imports Keras."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from xray_hpc.config.run_config import DataConfig
from xray_hpc.data.index import build_index
from xray_hpc.data.splits import split_images

MakeTree = Callable[..., Path]


def keras_files(folder: Path, seed: int, fraction: float) -> tuple[list[str], list[str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from keras.utils import image_dataset_from_directory
    train, validation = image_dataset_from_directory(
        folder,
        seed=seed,
        validation_split=fraction,
        subset="both",
        image_size=(8, 8),
        label_mode="int",
        verbose=False,
    )
    prefix = f"{folder}/"
    return (
        [path.removeprefix(prefix) for path in train.file_paths],
        [path.removeprefix(prefix) for path in validation.file_paths],
    )


@pytest.fixture
def odd(tmp_path: Path, make_tree: MakeTree) -> Path:
    """Return a folder with names whose order depends on numbers and letter case."""
    return make_tree(
        tmp_path / "odd",
        {
            "train/NORMAL": [f"IM-{n}-0001.png" for n in (1, 2, 9, 10, 11, 100)]
            + ["b.PNG", "B.png", "a b.png", "a,b.png", "it's $(x).png", "é.png", "Z.png"],
            "train/PNEUMONIA": [f"person{n}_virus_{n}.png" for n in range(8, 22)],
            "train/PNEUMONIA/deep": ["person1_virus_1.png"],
            "train/PNEUMONIA/deep b": ["person2_virus_1.png"],
            "train/PNEUMONIA/deep/er": ["person3_virus_1.png"],
            "test/NORMAL": ["x.png"],
            "test/PNEUMONIA": ["y.png"],
        },
    )


@pytest.mark.parametrize(("seed", "fraction"), [(42, 0.2), (0, 0.2), (7, 0.35)])
def test_random_split_matches_keras(
    odd: Path, tmp_path: Path, data_config: Callable[..., DataConfig], seed: int, fraction: float
) -> None:
    config = data_config(odd, split="random", split_seed=seed, validation_fraction=fraction)
    index = build_index(config, tmp_path)
    parts = split_images(index.entries, config)
    ours = [
        [index.entries[i].path.removeprefix("train/") for i in parts[name]]
        for name in ("train", "validation")
    ]
    assert ours == list(keras_files(odd / "train", seed, fraction))


def test_random_split_of_three_classes_matches_keras(
    odd: Path, tmp_path: Path, make_tree: MakeTree, data_config: Callable[..., DataConfig]
) -> None:
    names = [f"{n:03d}.{suffix}" for n in range(40) for suffix in ("jpeg", "png")]
    make_tree(odd, {"train/Covid": names, "test/Covid": ["z.png"]})
    config = data_config(odd, split="random", split_seed=3)
    index = build_index(config, tmp_path)
    parts = split_images(index.entries, config)
    ours = [
        [index.entries[i].path.removeprefix("train/") for i in parts[name]]
        for name in ("train", "validation")
    ]
    assert index.classes == ("Covid", "NORMAL", "PNEUMONIA")
    assert ours == list(keras_files(odd / "train", 3, 0.2))


def test_random_split_treats_val_as_train(
    odd: Path, tmp_path: Path, make_tree: MakeTree, data_config: Callable[..., DataConfig]
) -> None:
    make_tree(odd, {"val/NORMAL": ["IM-5-0001.png", "A.png"], "val/PNEUMONIA": ["aa.png"]})
    config = data_config(odd, split="random")
    index = build_index(config, tmp_path)
    parts = split_images(index.entries, config)
    ours = [
        [index.entries[i].path.split("/", 1)[1] for i in parts[name]]
        for name in ("train", "validation")
    ]
    merged = tmp_path / "merged"
    for part in ("train", "val"):
        shutil.copytree(odd / part, merged, dirs_exist_ok=True)
    assert ours == list(keras_files(merged, 42, 0.2))
