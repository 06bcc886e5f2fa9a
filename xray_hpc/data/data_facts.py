"""Facts on a data set for reports: how many images were found and used, and their grey values."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from xray_hpc.data.dataset import Dataset
from xray_hpc.data.index import Index

FLOW = ("stage", "split", "class", "images", "patients")
INTENSITY = (
    *("split", "class", "images", "mean", "mean_sd", "contrast", "contrast_sd"),
    *("p5", "p25", "p50", "p75", "p95"),
)
LEVELS = 256
PERCENTILES = (5, 25, 50, 75, 95)


def flow_table(dataset: Dataset, index: Index) -> pd.DataFrame:
    """Count the images and patients of each class that were found, left out and used.

    The stages are ``found``, ``unreadable``, ``not drawn`` (left out by ``data.per_class``) and
    ``used``, which has rows of each split. An empty class stands for all of them. Copies of an
    image are not left out, so there is no stage of them.
    """
    unreadable = {path for path, _ in dataset.skipped}
    split_of = {
        dataset.files[row]: name for name, rows in dataset.splits.items() for row in rows.tolist()
    }
    entries = pd.DataFrame(
        {
            "class": [index.classes[entry.label] for entry in index.entries],
            "patient": [entry.patient for entry in index.entries],
            "split": [split_of.get(entry.path, "") for entry in index.entries],
            "unreadable": [entry.path in unreadable for entry in index.entries],
        }
    )
    left_out = entries[(entries["split"] == "") & ~entries["unreadable"]]
    stages = [("found", "", entries), ("unreadable", "", entries[entries["unreadable"]])]
    stages += [("not drawn", "", left_out)]
    stages += [("used", name, entries[entries["split"] == name]) for name in dataset.splits]
    rows = [
        (stage, split, name, len(part), part["patient"].nunique())
        for stage, split, images in stages
        for name, part in _by_class(images, index.classes)
    ]
    return pd.DataFrame(rows, columns=list(FLOW))


def _by_class(images: pd.DataFrame, classes: Iterable[str]) -> Iterable[tuple[str, pd.DataFrame]]:
    yield "", images
    for name in classes:
        yield name, images[images["class"] == name]


def intensity_table(dataset: Dataset) -> pd.DataFrame:
    """Summarize the grey values, 0 to 1, of each split and class; an empty class is all of them.

    ``mean`` and ``contrast`` are averages over images of the mean and of the standard deviation of
    an image's pixels, ``mean_sd`` and ``contrast_sd`` their standard deviations between images
    (n - 1, empty for one image); ``p5`` to ``p95`` are percentiles of all pixels. The values are
    those that the models get, after resizing, and after CLAHE with ``data.clahe``.
    """
    rows = []
    for split, members in dataset.splits.items():
        members = np.sort(members)
        labels = dataset.labels[members]
        histograms = _histograms(dataset.images, members)
        rows.append((split, "", *_summary(histograms)))
        for label, name in enumerate(dataset.classes):
            chosen = histograms[labels == label]
            if len(chosen):
                rows.append((split, name, *_summary(chosen)))
    return pd.DataFrame(rows, columns=list(INTENSITY))


def _histograms(
    images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the number of pixels of each grey value ``[N, 256]``, reading one image at a time."""
    counts = [np.bincount(images[row].ravel(), minlength=LEVELS) for row in rows.tolist()]
    return np.array(counts, np.int64).reshape(-1, LEVELS)


def _summary(histograms: npt.NDArray[np.int64]) -> tuple[float, ...]:
    values = np.arange(LEVELS) / (LEVELS - 1)
    pixels = histograms.sum(axis=1)
    means = histograms @ values / pixels
    contrasts = np.sqrt(np.maximum(histograms @ values**2 / pixels - means**2, 0))
    spreads = [
        (found.mean(), found.std(ddof=1) if len(found) > 1 else np.nan)
        for found in (means, contrasts)
    ]
    cumulated = histograms.sum(axis=0).cumsum()
    limits = np.array(PERCENTILES) / 100 * cumulated[-1]
    percentiles = values[np.searchsorted(cumulated, limits)]
    numbers = (*spreads[0], *spreads[1], *percentiles)
    return (len(histograms), *(round(float(number), 6) for number in numbers))
