"""Group finished runs by data set."""

from __future__ import annotations

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
    """Finished runs on one data set with the same classes."""

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

    Runs keep their order. The title of a group is like ``demo, 3 classes``; fingerprints are
    appended to equal titles.
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
    return [RunGroup(titles[key], members) for key, members in found.items()]


def dataset_name(run: RunResult) -> str:
    """Return ``demo`` or the last part of ``data.root``."""
    root = run.config.get("data.root")
    return PurePath(str(root)).name if root else str(run.config.get("data.source"))


def share_validation_split(runs: Iterable[RunResult]) -> bool:
    """Return whether runs on the same data are validated on the same images."""
    return len({tuple(run.config.get(key) for key in VALIDATION_KEYS) for run in runs}) <= 1
