"""Metrics of runs on the subgroups of pneumonia that file names tell: bacterial and viral."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from xray_hpc.report.image_scores import Array, ImageScores
from xray_hpc.statistics.clustered_auc import auc_components, auc_estimates
from xray_hpc.statistics.clustered_proportions import proportion_estimates
from xray_hpc.statistics.influence_intervals import Estimate

COLUMNS = (
    *("data", "run", "split", "column", "subgroup", "metric", "value", "low", "high"),
    *("images", "patients"),
)
MIN_IMAGES = 10
"""Smaller subgroups are left out: their intervals span most of the range."""

ETIOLOGIES = ("bacteria", "virus")
# person1_bacteria_2.jpeg of Kaggle's set, BACTERIA-1008087-0001.jpeg of the original
# (Kermany et al. 2018, https://doi.org/10.17632/rscbjbr9sj)
_ETIOLOGY = re.compile(r"(?:^|/)(?:person\d+_)?(bacteria|virus)[_-]\d+[^/]*$", re.IGNORECASE)


def etiology(file: str) -> str:
    """Return the cause of a pneumonia, one of :data:`ETIOLOGIES`, or "" if the name has none."""
    found = _ETIOLOGY.search(file)
    return found[1].lower() if found else ""


def subgroup_table(data: str, images: ImageScores) -> pd.DataFrame:
    """Return the metrics of each run on each etiology, at the fixed threshold.

    Of two classes these are the sensitivity, and the AUC of the subgroup's positive images against
    all negative images; of more classes the accuracy. A subgroup of fewer than :data:`MIN_IMAGES`
    images is left out, and so is one that is a class of its own.
    """
    causes = np.array([etiology(file) for file in images.files], dtype=object)
    parts: list[pd.DataFrame] = []
    for subgroup in ETIOLOGIES:
        members = causes == subgroup
        if images.is_binary:
            members = members & (images.y == 1)
        if members.sum() >= MIN_IMAGES and not _is_class(images, members):
            parts += _rows(data, images, subgroup, members)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def _is_class(images: ImageScores, members: Array) -> bool:
    return any(np.array_equal(members, images.y == k) for k in range(len(images.classes)))


def _rows(data: str, images: ImageScores, subgroup: str, members: Array) -> Iterator[pd.DataFrame]:
    for metric, estimate in _estimates(images, members):
        columns: dict[str, Any] = {
            **{"data": data, "run": list(images.runs), "split": images.split},
            **{"column": "etiology", "subgroup": subgroup, "metric": metric},
            **estimate._asdict(),
            "images": int(members.sum()),
            "patients": len(np.unique(images.patients[members])),
        }
        yield pd.DataFrame(columns)[list(COLUMNS)]


def _estimates(images: ImageScores, members: Array) -> Iterator[tuple[str, Estimate]]:
    right = (images.predicted == images.y)[:, members]
    share = proportion_estimates(right, np.ones_like(right), images.patients[members])
    yield "sensitivity" if images.is_binary else "accuracy", share
    if images.is_binary:
        kept = members | (images.y == 0)
        parts = images.y[kept] == 1, images.logits[:, kept], images.patients[kept]
        yield "auc", auc_estimates(auc_components(*parts))
