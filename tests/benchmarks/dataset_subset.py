"""Part of a data set as a folder of links, so that both ways train on the very same files."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xray_hpc.config.run_config import DataConfig
from xray_hpc.data.index import build_index
from xray_hpc.data.splits import split_images
from xray_hpc.errors import UserError
from xray_hpc.synthetic import demo_dataset

WEIGHTS = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
DRAWN = 6_520  # of which a fifth is for the test
FOLDERS = {"train": "train", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class Source:
    """A whole data set, and weights of MobileNetV2 if there are any."""

    root: Path
    name: str
    weights: Path | None

    @property
    def images(self) -> int:
        """How many there are to train and validate on."""
        folders = (self.root / name for name in ("train", "val"))
        return sum(path.is_file() for folder in folders for path in folder.rglob("*.jpeg"))


@dataclass(frozen=True)
class Part:
    """A tree of links, and how many images of which split are in it."""

    root: Path
    images: dict[str, int]

    def __str__(self) -> str:
        return ", ".join(f"{count:,} {name}" for name, count in self.images.items())


def source(folder: Path, drawn: int = DRAWN) -> Source:
    """The real set below ``XRAY_HPC_DATA``; without it so many images drawn into ``folder``.

    Raises:
        UserError: the variable names a folder without the set or the weights.
    """
    named = os.environ.get("XRAY_HPC_DATA")
    if named is None:
        root = folder / f"drawn-{drawn}"
        root.mkdir()
        demo_dataset.generate(root, drawn, seed=0, classes=2)
        return Source(root, "drawn X-rays", None)
    base = Path(named).expanduser()
    weights = base / "keras_models" / WEIGHTS
    for path in (base / "chest_xray", weights):
        if not path.exists():
            raise UserError(f"XRAY_HPC_DATA is {named!r}, which holds no {path.relative_to(base)}")
    return Source(base / "chest_xray", "the real set", weights)


def part(whole: Source, images: int, folder: Path) -> Part:
    """So many images to train and validate on, and the same share of the test images.

    Each class of each split gives the same share; a smaller part lies within a larger one. A fifth
    of the patients validates.
    """
    config = DataConfig(
        source="folder",
        root=str(whole.root),
        image_size=224,
        channels=3,
        split="patient",
        validation_fraction=0.2,
        split_seed=42,
    )
    index = build_index(config, folder)
    splits = split_images(index.entries, config)
    share = images / (len(splits["train"]) + len(splits["validation"]))
    root = folder / f"part-{images}"
    counts = dict.fromkeys(splits, 0)
    for name, positions in splits.items():
        of_class = defaultdict(list)
        for position in np.random.RandomState(0).permutation(positions):
            entry = index.entries[position]
            of_class[index.classes[entry.label]].append(entry)
        for label, entries in of_class.items():
            target = root / FOLDERS[name] / label
            target.mkdir(parents=True)
            chosen = entries[: max(1, round(share * len(entries)))]
            for entry in chosen:
                (target / Path(entry.path).name).symlink_to(index.root.resolve() / entry.path)
            counts[name] += len(chosen)
    return Part(root, counts)
