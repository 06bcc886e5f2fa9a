"""The results of one or several sweeps as tables."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from xray_hpc.errors import ConfigError, nearest
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.report.long_tables import epoch_table, roc_table, score_table
from xray_hpc.report.merged_tables import CLASS_COLUMNS, Rows, class_rows, runs_rows
from xray_hpc.report.run_result import RunResult


@dataclass(frozen=True)
class SweepResults:
    """All runs of one or several sweeps.

    The tables are made when they are first used; results/README.md describes their columns.

    Attributes:
        sweeps: the sweeps.
        results: the runs in launch order, with their tables.
        folders: the folders of the runs, by name.
        sweep_of: the names of their sweeps, by name.
    """

    sweeps: Sequence[SweepPaths]
    results: Sequence[RunResult]
    folders: Mapping[str, RunPaths]
    sweep_of: Mapping[str, str]

    @functools.cached_property
    def run_rows(self) -> Rows:
        """One row per run with the columns of ``runs.csv``; ``None`` is unknown."""
        return runs_rows(self.results, self.sweep_of if len(self.sweeps) > 1 else None)

    @functools.cached_property
    def runs(self) -> pd.DataFrame:
        """One row per run, finished or not, with the index ``run``: the table ``runs.csv``.

        Runs without a result have a ``status`` and an ``error``.
        """
        frame = pd.DataFrame(self.run_rows, columns=list(self.run_rows[0]) if self.results else [])
        return frame.set_index("run") if self.results else frame

    @functools.cached_property
    def epochs(self) -> pd.DataFrame:
        """One row per run and epoch, from epoch 1: the table ``epochs.csv``."""
        return epoch_table(self.results)

    @functools.cached_property
    def scores(self) -> pd.DataFrame:
        """One row per run, split, image and scored class: the table ``scores.csv``."""
        return score_table(self.results)

    @functools.cached_property
    def roc(self) -> pd.DataFrame:
        """One row per run, split and point of a ROC curve: the table ``roc.csv``."""
        return roc_table(self.results)

    @functools.cached_property
    def per_class(self) -> pd.DataFrame:
        """One row per run, split and class: the table ``per_class.csv``."""
        return pd.DataFrame(class_rows(self.results), columns=list(CLASS_COLUMNS))

    def result(self, name: str) -> RunResult:
        """Return the run whose name is or starts with ``name``.

        Raises:
            ConfigError: there is no such run, or there are several.
        """
        names = [run.name for run in self.results]
        found = [one for one in names if one == name] or [
            one for one in names if name and one.startswith(name)
        ]
        if len(found) > 1:
            raise ConfigError(f"'{name}' matches {len(found)} runs; type more of the name")
        if not found:
            raise ConfigError(f"there is no run '{name}'{nearest(name, names)}")
        return self.results[names.index(found[0])]

    def where(self, keep: Callable[[RunResult, Mapping[str, object]], bool]) -> SweepResults:
        """Return the results of the runs for which ``keep(run, row of the runs)`` is true."""
        pairs = zip(self.results, self.run_rows, strict=True)
        return dataclasses.replace(self, results=[run for run, row in pairs if keep(run, row)])
