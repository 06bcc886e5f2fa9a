"""Which images train, which validate, and which test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from xray_hpc.config.run_config import DataConfig
from xray_hpc.data.folder_index import order_within_class
from xray_hpc.data.index_entry import ClassCounts, IndexEntry, SplitName
from xray_hpc.errors import ConfigError
from xray_hpc.text import format_count

Indices = npt.NDArray[np.int64]

# A validation set by patient may miss the fraction asked for by half of it, not by more.
TOLERANCE = 0.5


def split_images(entries: Sequence[IndexEntry], config: DataConfig) -> dict[str, Indices]:
    """Divide the images: positions in ``entries`` for ``train``, ``validation`` and ``test``.

    The test set is always the one that came with the data. The others share the pool of all
    other images, except with ``config.split`` ``folder``. Of the pool (of the training images,
    with ``folder``) ``config.per_class`` takes so many of each class; the rest is in no part.

    Raises:
        UserError: a part would be empty, or the fraction cannot be met.
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
    """Raise ``UserError`` where the data's own split is asked for and it has no such images."""
    if config.split == "folder" and not validation:
        raise ConfigError(
            "data.split is folder, but the data has no validation images (a folder val/, or rows "
            "with split validation); use data.split=patient"
        )


def count_trainable(images: ClassCounts, config: DataConfig) -> int:
    """How many images there are to train and validate on, of a set that has ``images``."""
    given = sum(images["train"]) + sum(images["validation"])
    if config.per_class is None:
        return given
    sizes = _pool_sizes(images, config)
    return given - sum(sizes) + len(sizes) * min(config.per_class, *sizes)


def small_classes(images: ClassCounts, classes: Sequence[str], config: DataConfig) -> list[str]:
    """One line if a class has fewer images than ``config.per_class``."""
    sizes = _pool_sizes(images, config)
    if config.per_class is None or min(sizes) >= config.per_class:
        return []
    smallest = sizes.index(min(sizes))
    return [
        f"data.per_class is {config.per_class}, but {classes[smallest]!r} has only "
        f"{format_count(sizes[smallest], 'image')} to draw from; took {sizes[smallest]:,} of "
        "each class"
    ]


def _pool(config: DataConfig) -> list[SplitName]:
    """Where the images come from that are split, or that train where there is no splitting."""
    return ["train"] if config.split == "folder" else ["train", "validation"]


def _pool_sizes(images: ClassCounts, config: DataConfig) -> list[int]:
    return [sum(sizes) for sizes in zip(*(images[origin] for origin in _pool(config)), strict=True)]


def _balanced(entries: Sequence[IndexEntry], pool: Indices, per_class: int, seed: int) -> Indices:
    """Draw ``per_class`` images of each class, or as many as the smallest class has.

    The draw hangs on the seed and the images' paths alone, and a smaller one is part of a larger.
    """
    of_class: defaultdict[int, list[int]] = defaultdict(list)
    for i in sorted(pool.tolist(), key=lambda i: entries[i].path):
        of_class[entries[i].label].append(i)
    random = np.random.RandomState(seed)
    shuffled = [random.permutation(of_class[label]) for label in sorted(of_class)]
    size = min(per_class, *map(len, shuffled))
    return np.sort(np.concatenate([images[:size] for images in shuffled])).astype(np.int64)


def _random(
    entries: Sequence[IndexEntry], pool: Indices, config: DataConfig
) -> tuple[Indices, Indices]:
    """The split, and the order, of Keras's ``image_dataset_from_directory``.

    Keras lists the classes one after the other, each sorted by folder and name, shuffles the
    list with ``RandomState(seed)`` and validates on its last ``int(fraction * n)`` images. A
    ``val/`` folder takes part as if its files lay in ``train/``.
    """

    def place(i: int) -> tuple[int, tuple[str, str]]:
        entry = entries[i]
        order = ("", entry.path) if config.source == "csv" else order_within_class(entry)
        return entry.label, order

    listed = np.array(sorted(pool.tolist(), key=place), dtype=np.int64)
    np.random.RandomState(config.split_seed).shuffle(listed)
    held_out = int(config.validation_fraction * len(listed))
    if held_out == 0:
        raise ConfigError(
            f"data.validation_fraction {config.validation_fraction:g} of "
            f"{format_count(len(listed), 'image')} is none; give a larger one"
        )
    return listed[:-held_out], listed[-held_out:]


def _by_patient(
    entries: Sequence[IndexEntry], pool: Indices, config: DataConfig
) -> tuple[Indices, Indices]:
    """Hold out whole patients until each class is as near to the fraction as they allow.

    The patients come in an order drawn from the seed; one is held out when that brings the
    held-out images closer to the fraction, summed over the classes. Patients of one class leave
    that class off by at most half of the images of its largest patient.
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
        of_class = [
            len({entries[i].patient for i in pool if labels[i] == label})
            for label in range(len(totals))
        ]
        raise ConfigError(
            f"data.validation_fraction {fraction:g} cannot be met by patient: the classes have "
            f"{_listed(map(str, of_class))} patients, and the nearest shares are "
            f"{_listed(f'{share:.0%}' for share in shares)}; change the fraction, or use "
            "data.split=random"
        )
    chosen = np.array(sorted(validation), dtype=np.int64)
    return np.setdiff1d(pool, chosen), chosen


def _listed(words: Iterable[str]) -> str:
    """``"1, 2 and 3"``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def shared_patients(patients: Sequence[str], splits: Mapping[str, Indices]) -> list[str]:
    """One line for each two parts that hold images of the same patient; none is the rule.

    Two such parts are not independent: results on the second of them come out too good.
    """
    lines = []
    people = {name: {patients[i] for i in rows} for name, rows in splits.items()}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        shared = people[one] & people[other]
        if shared:
            images = sum(patients[i] in shared for i in splits[other])
            named = ", ".join(repr(name) for name in sorted(shared)[:3])
            lines.append(
                f"{format_count(len(shared), 'patient')} ({named}{', ...' * (len(shared) > 3)}) "
                f"in both {one} and {other}: {images:,} of the {len(splits[other]):,} {other} "
                f"images; {other} results will look too good"
            )
    return lines
