"""A run as the report has it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from xray_hpc.monitoring.run_state import State
from xray_hpc.records.run_metrics import RunMetrics
from xray_hpc.records.run_progress import TrainingProgress
from xray_hpc.records.run_record import RunRecord
from xray_hpc.report.csv_columns import Table
from xray_hpc.report.resource_usage import TimedAttempt, Usage, stretches, usage

Points: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RunResult:
    """What a run folder holds.

    ``status`` is a :class:`~xray_hpc.monitoring.run_state.State`, as the folder alone tells it.
    ``damaged``: finished by its record, but files are absent or make no sense; or the record
    itself makes none. ``error`` says what is wrong, in one line. ``config`` is flat: dotted key
    to value. ``overrides`` are the command line's words for it, key to text.
    Tables that could not be read are absent.

    ``scores`` have the columns ``file``, ``patient``, ``y_true`` and one of scores (two classes)
    or one a class; ``roc`` has a column ``class``. ``curves`` are the ROC points ``[P, 2]`` that
    figures show: of more than two classes the macro average; none where a split has one class only.
    """

    name: str
    model: str
    status: str
    error: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)
    record: RunRecord | None = None
    progress: TrainingProgress | None = None
    metrics: RunMetrics | None = None
    epochs: Table | None = None
    scores: Mapping[str, Table] = field(default_factory=dict)
    roc: Mapping[str, Table] = field(default_factory=dict)
    curves: Mapping[str, Points] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return self.status == State.FINISHED.value

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; none while there are no metrics."""
        return tuple(self.metrics.classes) if self.metrics else ()

    @functools.cached_property
    def config_texts(self) -> dict[str, str]:
        """The config's values as texts that tell ``1`` from ``1.0`` and ``true``."""
        return {key: repr(value) for key, value in self.config.items()}

    @functools.cached_property
    def shown(self) -> str:
        """A digest of all that a figure may show of the run."""
        facts = [self.name, self.model, self.status, self.config_texts, self.overrides]
        digest = hashlib.sha256(f"{facts} {self.metrics}".encode())
        for name, values in (*(self.epochs or {}).items(), *self.curves.items()):
            digest.update(f"{name} {values.dtype} {values.shape}".encode())
            digest.update(values.tobytes())
        return digest.hexdigest()

    @functools.cached_property
    def usage(self) -> Usage:
        """What the run used of the cluster."""
        return usage(self.record.attempts, self.progress) if self.record else Usage()

    @functools.cached_property
    def stretches(self) -> list[TimedAttempt]:
        """The run's tries whose time is known."""
        return stretches(self.record.attempts, self.progress) if self.record else []

    def measure(self, split: str, name: str) -> Any:
        """``metrics.json``'s ``name`` of ``split``, or ``None``."""
        return getattr(self.metrics.split(split), name) if self.metrics else None

    def without_tables(self) -> RunResult:
        """The same run, with what only the merged tables show let go."""
        return dataclasses.replace(self, scores={}, roc={})
