"""Group finished runs by data set, and rank them within a group."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from xray_hpc.report.run_result import RunResult

# Keys that determine which training images a run is validated on.
VALIDATION_KEYS = ("data.split", "data.split_seed", "data.validation_fraction", "data.per_class")


@dataclass(frozen=True)
class RunGroup:
    """Finished runs on one data set with the same classes, best first."""

    title: str
    runs: Sequence[RunResult]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.runs[0].classes

    @property
    def is_binary(self) -> bool:
        return len(self.classes) == 2


def group_runs(runs: Iterable[RunResult]) -> list[RunGroup]:
    """Group finished runs by data fingerprint and classes, in order of first appearance.

    The title of a group is like ``demo, 3 classes``; fingerprints are appended to equal titles.
    """
    found: dict[Any, list[RunResult]] = {}
    for run in runs:
        if run.finished:
            found.setdefault((run.config.get("inputs.data"), run.classes), []).append(run)
    titles = {
        key: f"{dataset_name(members[0])}, {len(members[0].classes)} classes"
        for key, members in found.items()
    }
    counts = Counter(titles.values())
    for key, title in titles.items():
        if counts[title] > 1:
            titles[key] = f"{title} ({str(key[0])[:6]})"
    return [RunGroup(titles[key], rank_runs(members)) for key, members in found.items()]


def rank_runs(runs: Iterable[RunResult]) -> list[RunResult]:
    """Sort finished runs best first: by validation AUC, then validation loss, then name."""

    def rank(run: RunResult) -> tuple[float, float, str]:
        auc, loss = run.metric("validation", "auc"), run.metric("validation", "loss")
        return (math.inf if auc is None else -auc, math.inf if loss is None else loss, run.name)

    return sorted((run for run in runs if run.finished), key=rank)


def dataset_name(run: RunResult) -> str:
    """Return ``demo`` or the last part of ``data.root``."""
    root = run.config.get("data.root")
    return PurePath(str(root)).name if root else str(run.config.get("data.source"))


def share_validation_split(runs: Iterable[RunResult]) -> bool:
    """Return whether runs on the same data are validated on the same images."""
    return len({tuple(run.config.get(key) for key in VALIDATION_KEYS) for run in runs}) <= 1
