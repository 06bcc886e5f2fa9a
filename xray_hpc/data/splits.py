"""Split of a data set into training, validation and test images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from xray_hpc.config.run_config import DataConfig
from xray_hpc.count_text import format_count
from xray_hpc.data.folder_index import order_within_class
from xray_hpc.data.index_entry import ClassCounts, IndexEntry, SplitName
from xray_hpc.errors import ConfigError

Entries = Sequence[IndexEntry]
Indices = npt.NDArray[np.int64]

# The share of a validation set split by patient may differ from the requested one by half.
TOLERANCE = 0.5


def split_images(entries: Entries, config: DataConfig) -> dict[str, Indices]:
    """Return the positions in ``entries`` of the ``train``, ``validation`` and ``test`` images.

    The test set is the one that comes with the data. All other images are split into training and
    validation, unless ``config.split`` is ``folder``. With ``config.per_class``, that many images
    of each class are drawn first (with ``folder``: of the training images); the rest is unused.
    """
    origins = np.array([entry.split for entry in entries])
    test = np.flatnonzero(origins == "test")
    pool = np.flatnonzero(np.isin(origins, _pool(config)))
    if config.per_class is not None:
        pool = _balanced(entries, pool, config.per_class, config.split_seed)
    if config.split == "folder":
        train, validation = pool, np.flatnonzero(origins == "validation")
        check_folder_split(config, len(validation))
    elif config.split == "random":
        train, validation = _random(entries, pool, config)
    else:
        train, validation = _by_patient(entries, pool, config)
    return {"train": train, "validation": validation, "test": test}


def check_folder_split(config: DataConfig, validation: int) -> None:
    """Raise ``UserError`` if ``data.split=folder`` and the data has no validation images."""
    if config.split == "folder" and not validation:
        raise ConfigError(
            "data.split is folder, but the data has no validation images (a folder val/, or rows "
            "with split validation); use data.split=patient"
        )


def count_trainable(images: ClassCounts, config: DataConfig) -> int:
    """Return the number of training and validation images of a set with ``images``."""
    given = sum(images["train"]) + sum(images["validation"])
    if config.per_class is None:
        return given
    sizes = _pool_sizes(images, config)
    return given - sum(sizes) + len(sizes) * min(config.per_class, *sizes)


def small_classes(images: ClassCounts, classes: Sequence[str], config: DataConfig) -> list[str]:
    """Return a note if a class has fewer images than ``config.per_class``."""
    sizes = _pool_sizes(images, config)
    if config.per_class is None or min(sizes) >= config.per_class:
        return []
    size, name = min(zip(sizes, classes, strict=True), key=lambda pair: pair[0])
    return [
        f"data.per_class is {config.per_class}, but {name!r} has only "
        f"{format_count(size, 'image')} to draw from; took {size:,} of each class"
    ]


def _pool(config: DataConfig) -> list[SplitName]:
    """Return the origins of the images that ``per_class`` and the split apply to."""
    return ["train"] if config.split == "folder" else ["train", "validation"]


def _pool_sizes(images: ClassCounts, config: DataConfig) -> list[int]:
    return [sum(sizes) for sizes in zip(*(images[origin] for origin in _pool(config)), strict=True)]


def _balanced(entries: Entries, pool: Indices, per_class: int, seed: int) -> Indices:
    """Draw ``per_class`` images of each class, or as many as the smallest class has.

    The draw depends only on the seed and the paths; a smaller draw is a subset of a larger one.
    """
    of_class: defaultdict[int, list[int]] = defaultdict(list)
    for i in sorted(pool.tolist(), key=lambda i: entries[i].path):
        of_class[entries[i].label].append(i)
    random = np.random.RandomState(seed)
    shuffled = [random.permutation(of_class[label]) for label in sorted(of_class)]
    size = min(per_class, *map(len, shuffled))
    return np.sort(np.concatenate([images[:size] for images in shuffled])).astype(np.int64)


def _random(entries: Entries, pool: Indices, config: DataConfig) -> tuple[Indices, Indices]:
    """Split like Keras's ``image_dataset_from_directory``, in the same order.

    Keras lists the classes in order, each sorted by folder and name, shuffles the list with
    ``RandomState(seed)`` and holds out the last ``int(fraction * n)`` images. Files in ``val/``
    are treated as if they were in ``train/``.
    """

    def place(i: int) -> tuple[int, tuple[str, str]]:
        entry = entries[i]
        inner = ("", entry.path) if config.source == "csv" else order_within_class(entry)
        return entry.label, inner

    listed = np.array(sorted(pool.tolist(), key=place), dtype=np.int64)
    np.random.RandomState(config.split_seed).shuffle(listed)
    held_out = int(config.validation_fraction * len(listed))
    if held_out == 0:
        raise ConfigError(
            f"data.validation_fraction {config.validation_fraction:g} of "
            f"{format_count(len(listed), 'image')} is 0 images; increase it"
        )
    return listed[:-held_out], listed[-held_out:]


def _by_patient(entries: Entries, pool: Indices, config: DataConfig) -> tuple[Indices, Indices]:
    """Hold out whole patients so that each class comes close to the validation fraction.

    Patients are visited in random order. One is held out if that brings the held-out images closer
    to the fraction, summed over the classes. If every patient has one class, the error per class
    is at most half of the images of its largest patient.
    """
    patients: defaultdict[str, list[int]] = defaultdict(list)
    for i in pool.tolist():
        patients[entries[i].patient].append(i)
    labels = np.array([entry.label for entry in entries])
    totals = np.bincount(labels[pool])
    wanted = config.validation_fraction * totals
    held = np.zeros(len(totals))
    validation: list[int] = []
    names = sorted(patients)
    for i in np.random.RandomState(config.split_seed).permutation(len(names)):
        images = patients[names[i]]
        more = held + np.bincount(labels[images], minlength=len(totals))
        if np.sum(np.abs(wanted - more) / wanted) < np.sum(np.abs(wanted - held) / wanted):
            held = more
            validation += images
    shares = held / totals
    fraction = config.validation_fraction
    if np.any(np.abs(shares - fraction) > TOLERANCE * min(fraction, 1 - fraction)):
        people = [{entries[i].patient for i in pool[labels[pool] == k]} for k in range(len(totals))]
        raise ConfigError(
            f"data.validation_fraction {fraction:g} cannot be met by patient: the classes have "
            f"{', '.join(str(len(names)) for names in people)} patients, and the closest shares "
            f"are {', '.join(f'{share:.0%}' for share in shares)}; change the fraction, or use "
            "data.split=random"
        )
    chosen = np.array(sorted(validation), dtype=np.int64)
    return np.setdiff1d(pool, chosen), chosen


def shared_patients(patients: Sequence[str], splits: Mapping[str, Indices]) -> list[str]:
    """Return a note for each pair of splits with images of the same patient."""
    lines = []
    people = {name: {patients[i] for i in rows} for name, rows in splits.items()}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        shared = people[one] & people[other]
        if shared:
            images = sum(patients[i] in shared for i in splits[other])
            named = ", ".join(map(repr, sorted(shared)[:3]))
            lines.append(
                f"{format_count(len(shared), 'patient')} ({named}{', ...' * (len(shared) > 3)}) "
                f"in both {one} and {other}: {images:,} of the {len(splits[other]):,} {other} "
                f"images; {other} results are too optimistic"
            )
    return lines
