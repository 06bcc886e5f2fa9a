"""The result of a run as the report uses it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from xray_hpc.monitoring.run_state import State
from xray_hpc.records.run_flags import Flag
from xray_hpc.records.run_metrics import RunMetrics
from xray_hpc.records.run_progress import TrainingProgress
from xray_hpc.records.run_record import RunRecord
from xray_hpc.report.resource_usage import (
    ResourceUsage,
    TimedAttempt,
    resource_usage,
    timed_attempts,
)
from xray_hpc.report.typed_csv import Table

Points: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RunResult:
    """The contents of a run folder; tables that cannot be read are absent.

    Attributes:
        name: name of the folder.
        model: name of the model.
        status: a :class:`~xray_hpc.monitoring.run_state.State`, determined from the folder alone.
            A run is ``damaged`` if its record is invalid, or says finished while files are missing
            or invalid.
        error: the problem, in one line.
        config: values by dotted key.
        overrides: overrides of the command line, text by key.
        record: the record in ``run.json``.
        progress: the progress of the training.
        metrics: the contents of ``metrics.json``.
        epochs: accuracy, loss and AUC per epoch, from epoch 1.
        scores: by split, a table with ``file``, ``patient``, ``y_true`` and one column of scores
            (two classes) or one per class.
        roc: by split, a table of ROC points with a column ``score_of``.
        curves: by split, the ROC points ``[P, 2]`` that figures show (the macro average of more
            than two classes); none for a split with images of one class only.
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
        """The names of the classes; empty without metrics."""
        return tuple(self.metrics.classes) if self.metrics else ()

    @functools.cached_property
    def config_texts(self) -> dict[str, str]:
        """The config's values as texts that distinguish ``1``, ``1.0`` and ``true``."""
        return {key: repr(value) for key, value in self.config.items()}

    @property
    def flags(self) -> Sequence[Flag]:
        """Why the result needs a look; empty without metrics."""
        return self.metrics.flags if self.metrics else ()

    @property
    def training_seconds(self) -> float | None:
        return self.record.seconds if self.record else None

    @functools.cached_property
    def usage(self) -> ResourceUsage:
        record = self.record
        return resource_usage(record.attempts, self.progress) if record else ResourceUsage()

    @functools.cached_property
    def timed_attempts(self) -> list[TimedAttempt]:
        """The run's attempts with known start and end."""
        return timed_attempts(self.record.attempts, self.progress) if self.record else []

    def metric(self, split: str, name: str) -> Any:
        """Return a metric of ``split`` from ``metrics.json``, or ``None``."""
        return getattr(self.metrics.split(split), name) if self.metrics else None

    def without_tables(self) -> RunResult:
        """Return a copy without the large tables, which only the merged tables need."""
        return dataclasses.replace(self, scores={}, roc={})
