"""Which runs may be ranked against each other: those measured on the same images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import PurePath
from typing import Any

from xray_hpc.report.run_result import RunResult

# What decides which of the training images a run is validated on.
HELD_OUT = ("data.split", "data.split_seed", "data.validation_fraction", "data.per_class")


@dataclass(frozen=True)
class Group:
    """Finished runs of one data set and its classes, best first."""

    title: str
    runs: Sequence[RunResult]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.runs[0].classes

    @property
    def two_classes(self) -> bool:
        return len(self.classes) == 2


def groups(runs: Iterable[RunResult]) -> list[Group]:
    """The finished runs by their data's fingerprint and classes, in the order of the first runs.

    A group is titled by its data and number of classes, as ``demo, 3 classes``; groups that would
    share a title get their fingerprints added.
    """
    found: dict[Any, list[RunResult]] = {}
    for run in runs:
        if run.finished:
            found.setdefault((run.config.get("inputs.data"), run.classes), []).append(run)
    titles = [
        f"{data_name(members[0])}, {len(members[0].classes)} classes" for members in found.values()
    ]
    times = Counter(titles)
    return [
        Group(title if times[title] == 1 else f"{title} ({str(key[0])[:6]})", ranked(members))
        for title, (key, members) in zip(titles, found.items(), strict=True)
    ]


def ranked(runs: Iterable[RunResult]) -> list[RunResult]:
    """Finished runs, best first: by validation AUC, then validation loss, then name."""

    def order(run: RunResult) -> tuple[float, float, str]:
        auc, loss = run.measure("validation", "auc"), run.measure("validation", "loss")
        return (
            float("inf") if auc is None else -auc,
            float("inf") if loss is None else loss,
            run.name,
        )

    return sorted((run for run in runs if run.finished), key=order)


def leading(found: Sequence[Group]) -> list[RunResult]:
    """All their runs, the groups taking turns: each one's best, then their second best, ..."""
    turns = zip_longest(*(group.runs for group in found))
    return [run for turn in turns for run in turn if run is not None]


def data_name(run: RunResult) -> str:
    """``demo``, or the last part of ``data.root``."""
    root = run.config.get("data.root")
    return PurePath(str(root)).name if root else str(run.config.get("data.source"))


def same_validation(runs: Iterable[RunResult]) -> bool:
    """Whether runs on the same data hold out the same images to validate on."""
    return len({tuple(run.config.get(key) for key in HELD_OUT) for run in runs}) <= 1
