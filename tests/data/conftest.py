"""Small image folders, and data configs for them."""

from __future__ import annotations

import resource
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from xray_hpc.config.run_config import DataConfig


def draw(path: Path, side: int = 12) -> None:
    """Write a grey image whose contents depend on the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(str(path).encode(errors="surrogateescape")))
    Image.fromarray(rng.integers(0, 256, (side, side), np.uint8)).save(path, "PNG")


def write_tree(root: Path, folders: Mapping[str, Iterable[str]]) -> Path:
    for folder, names in folders.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            draw(root / folder / name)
    return root


def link_in_many_ways(start: Path, folder: Path, count: int) -> None:
    """Make ``count`` folders with two links each to the next, and an image in the last."""
    for k in range(count):
        (folder / f"{k}").mkdir(parents=True)
        for name in ("a", "b"):
            ((folder / f"{k - 1}") if k else start).joinpath(name).symlink_to(folder / f"{k}")
    (folder / f"{count - 1}" / "last.png").write_bytes(b"film")


@pytest.fixture
def make_image() -> Callable[..., None]:
    """``make_image(path)`` writes one small image."""
    return draw


@pytest.fixture
def make_tree() -> Callable[[Path, Mapping[str, Iterable[str]]], Path]:
    """``make_tree(root, {"train/NORMAL": ["a.png"], ...})`` writes images and returns root."""
    return write_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder in Kaggle's layout: 20 training patients with two images, 6 test patients."""
    normal = [f"IM-{n:04d}-000{i}.jpeg" for n in range(1, 11) for i in (1, 2)]
    ill = [f"person{n}_virus_{2 * n + i}.jpeg" for n in range(1, 11) for i in (0, 1)]
    return write_tree(
        tmp_path / "xrays",
        {
            "train/NORMAL": normal,
            "train/PNEUMONIA": ill,
            "val/NORMAL": ["NORMAL2-IM-0001-0001.jpeg"],
            "val/PNEUMONIA": ["person1_bacteria_1.jpeg"],
            "test/NORMAL": [f"IM-{n:04d}-0001.jpeg" for n in range(50, 53)],
            "test/PNEUMONIA": [f"person{n}_virus_{n}.jpeg" for n in range(50, 53)],
        },
    )


@pytest.fixture
def data_config() -> Callable[..., DataConfig]:
    """``data_config(root)`` reads that folder at 8x8 pixels; keywords change other values."""

    def make(root: Path | None, **changes: Any) -> DataConfig:
        values: dict[str, Any] = {
            "source": "folder",
            "root": None if root is None else str(root),
            "image_size": 8,
            "channels": 1,
            "split": "patient",
            "validation_fraction": 0.2,
            "split_seed": 42,
        }
        return DataConfig(**values | changes)

    return make


@pytest.fixture
def largest_file() -> Iterator[Callable[[int], None]]:
    """``largest_file(n)`` makes writes beyond n bytes of a file fail, like a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
