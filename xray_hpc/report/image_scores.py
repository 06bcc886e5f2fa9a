"""Stack the scores of runs on the same images."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from xray_hpc.metrics import class_scores, logit_names
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.typed_csv import Table

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ImageScores:
    """The logits of ``M`` runs on the same ``N`` images, sorted by file.

    Attributes:
        split: ``validation`` or ``test``.
        classes: names of the K classes.
        runs: names of the runs ``[M]``.
        files: ``[N]``.
        patients: patient of each image ``[N]``; an image of an unknown patient has one of its own.
        patients_known: whether every image names its patient.
        y: labels ``[N]``, 0 to K-1.
        logits: ``[M, N]`` of the second of two classes, ``[M, N, K]`` of more.
    """

    split: str
    classes: Sequence[str]
    runs: Sequence[str]
    files: Array
    patients: Array
    patients_known: bool
    y: Array
    logits: Floats

    @property
    def is_binary(self) -> bool:
        return len(self.classes) == 2

    @property
    def images(self) -> int:
        return len(self.files)

    @functools.cached_property
    def patient_count(self) -> int:
        return len(np.unique(self.patients))

    @functools.cached_property
    def scores(self) -> Floats:
        """The scores, in the shape of the logits."""
        return class_scores(self.logits)

    @property
    def predicted(self) -> Array:
        """The predicted labels ``[M, N]`` at the fixed threshold of two classes."""
        return (self.logits > 0).astype(int) if self.is_binary else self.logits.argmax(axis=2)

    def class_logits(self, run: int) -> Floats:
        """Return the logits ``[N, K]`` of one run, also of two classes."""
        logits = self.logits[run]
        return np.stack([-logits, logits], axis=1) if self.is_binary else logits

    def of(self, runs: Sequence[str]) -> ImageScores:
        """Return the scores of those of ``runs`` that are here, in their order."""
        places = {name: i for i, name in enumerate(self.runs)}
        kept = [name for name in runs if name in places]
        logits = self.logits[[places[name] for name in kept]]
        return self.replaced(kept, logits)

    def replaced(self, runs: Sequence[str], logits: Floats) -> ImageScores:
        """Return the same images with these runs."""
        found = self.split, self.classes, runs, self.files, self.patients, self.patients_known
        return ImageScores(*found, self.y, logits)

    def chunks(self, size: int) -> Iterator[ImageScores]:
        """Yield at most ``size`` runs at a time, which bounds the memory of what is computed."""
        for start in range(0, len(self.runs), size):
            part = slice(start, start + size)
            yield self.replaced(self.runs[part], self.logits[part])


def stack_scores(
    runs: Sequence[RunResult], split: str, classes: Sequence[str]
) -> list[ImageScores]:
    """Return the scores of runs, stacked where the images and their labels are the same."""
    stacks: dict[Any, list[tuple[RunResult, Array]]] = {}
    for run in runs:
        table = run.scores.get(split)
        if table is not None:
            order = np.argsort(table["file"], kind="stable")
            key = tuple(table["file"][order]), table["y_true"][order].tobytes()
            stacks.setdefault(key, []).append((run, order))
    return [_stack(members, split, classes) for members in stacks.values()]


def _stack(
    members: Sequence[tuple[RunResult, Array]], split: str, classes: Sequence[str]
) -> ImageScores:
    run, order = members[0]
    table = run.scores[split]
    patients = table["patient"][order].astype(str)
    files = table["file"][order].astype(str)
    unknown = patients == ""
    return ImageScores(
        split=split,
        classes=classes,
        runs=[run.name for run, _ in members],
        files=files,
        patients=np.where(unknown, np.char.add("\0", files), patients),
        patients_known=not unknown.any(),
        y=table["y_true"][order],
        logits=np.stack([_logits(run.scores[split], classes)[order] for run, order in members]),
    )


def _logits(table: Table, classes: Sequence[str]) -> Floats:
    columns = [table[name] for name in logit_names(classes)]
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
