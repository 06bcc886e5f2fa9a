"""A run as the report has it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from xray_hpc.cluster.states import State
from xray_hpc.report.usage import Stretch, Usage, stretches, usage
from xray_hpc.runs.progress import Progress
from xray_hpc.runs.record import RunRecord


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    ``status`` is a :class:`~xray_hpc.cluster.states.State`, as the folder alone tells it.
    ``damaged``: finished by its record, but files are absent or make no sense; or the record
    itself makes none. ``error`` says what is wrong, in one line. ``config`` is flat: dotted key
    to value. ``overrides`` are the command line's words for it, key to text.
    Tables that could not be read are absent.

    ``scores`` have the columns ``file``, ``patient``, ``y_true`` and one of scores (two classes)
    or one a class; ``roc`` has a column ``class``.
    """

    name: str
    model: str
    status: str
    error: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)
    record: RunRecord | None = None
    progress: Progress | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    epochs: pd.DataFrame | None = None
    scores: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    roc: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return self.status == State.FINISHED.value

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; none while there are no metrics."""
        return tuple(self.metrics.get("classes", ()))

    @functools.cached_property
    def usage(self) -> Usage:
        """What the run used of the cluster."""
        return usage(self.record.tries, self.progress) if self.record else Usage()

    @property
    def stretches(self) -> list[Stretch]:
        """The run's tries whose time is known."""
        return stretches(self.record.tries, self.progress) if self.record else []

    def measure(self, split: str, name: str) -> Any:
        """``metrics.json``'s ``name`` of ``split``, or ``None``."""
        return self.metrics.get(split, {}).get(name)

    def without_scores(self) -> Run:
        """The same run, with its largest tables let go."""
        return dataclasses.replace(self, scores={})
