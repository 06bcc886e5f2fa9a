"""Make subsets of a data set as folders of links, for trainings on the same files."""

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
DRAWN = 6_520  # images, a fifth of them for the test split
FOLDERS = {"train": "train", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class SourceDataset:
    """A data set, and weights of MobileNetV2 if available."""

    root: Path
    name: str
    weights: Path | None

    @property
    def images(self) -> int:
        """The number of images to train and validate on."""
        folders = (self.root / name for name in ("train", "val"))
        return sum(path.is_file() for folder in folders for path in folder.rglob("*.jpeg"))


@dataclass(frozen=True)
class DatasetSubset:
    """A folder of links, and its number of images per split."""

    root: Path
    images: dict[str, int]

    def __str__(self) -> str:
        return ", ".join(f"{count:,} {name}" for name, count in self.images.items())


def find_dataset(folder: Path, drawn: int = DRAWN) -> SourceDataset:
    """Return the data set below ``XRAY_HPC_DATA``, or draw images into ``folder``.

    Raises:
        DataError: the folder lacks the data set or the weights.
    """
    named = os.environ.get("XRAY_HPC_DATA")
    if named is None:
        root = folder / f"drawn-{drawn}"
        root.mkdir()
        demo_dataset.generate(root, drawn, seed=0, classes=2)
        return SourceDataset(root, "synthetic X-rays", None)
    base = Path(named).expanduser()
    weights = base / "keras_models" / WEIGHTS
    for path in (base / "chest_xray", weights):
        if not path.exists():
            raise UserError(f"XRAY_HPC_DATA is {named!r}, which holds no {path.relative_to(base)}")
    return SourceDataset(base / "chest_xray", "the real set", weights)


def make_subset(whole: SourceDataset, images: int, folder: Path) -> DatasetSubset:
    """Link ``images`` images to train and validate on, and the same share of the test images.

    The subset has the same share of each class and split; smaller subsets are contained in larger
    ones. A fifth of the patients is used for validation.
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
    return DatasetSubset(root, counts)
