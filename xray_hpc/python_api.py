"""The Python interface to results: ``xray_hpc.load_sweep``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xray_hpc.config.report_settings import SELECTION_RULES
from xray_hpc.errors import ConfigError, DataError, one_of
from xray_hpc.monitoring.discovery import find_sweep
from xray_hpc.report.compare import compare_runs
from xray_hpc.report.load_sweep import load_sweeps
from xray_hpc.report.sweep_results import SweepResults

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from xray_hpc.records.paths import RunPaths
    from xray_hpc.records.run_metrics import RunMetrics
    from xray_hpc.records.run_record import RunRecord
    from xray_hpc.report.run_result import RunResult


class LoadedSweep:
    """The results of one or several sweeps as pandas tables.

    The tables are made when they are first used; results/README.md describes their columns.
    """

    def __init__(self, results: SweepResults) -> None:
        self.results = results

    @property
    def runs(self) -> pd.DataFrame:
        """One row per run, with the index ``run``; also runs without a result, and why."""
        return self.results.runs

    @property
    def epochs(self) -> pd.DataFrame:
        """One row per run and epoch."""
        return self.results.epochs

    @property
    def scores(self) -> pd.DataFrame:
        """One row per run, split, image and scored class."""
        return self.results.scores

    @property
    def roc(self) -> pd.DataFrame:
        """One row per run, split and point of a ROC curve."""
        return self.results.roc

    def run(self, name: str) -> LoadedRun:
        """Return the run whose name is or starts with ``name``.

        Raises:
            ConfigError: there is no such run, or there are several.
        """
        result = self.results.result(name)
        return LoadedRun(result, self.results.folders[result.name])

    def best(self, select: str = "val_loss", data: str | None = None) -> LoadedRun:
        """Return the best finished run of a data set, by a metric of its validation images.

        As in the report, runs that differ only in their seed compete with their mean.

        Args:
            select: a selection rule, as ``report.select``.
            data: title of the data set, as in the report; needed if the runs are on several.

        Raises:
            ConfigError: the rule is unknown or a metric of the test images; there is no finished
                run; or the runs are on several data sets.
        """
        if select.startswith("test"):
            raise ConfigError(f"select={select} would choose the best run on test images")
        if select not in SELECTION_RULES:
            raise ConfigError(one_of("rule", select, SELECTION_RULES))
        comparison = compare_runs(self.results.results, select)
        found = {winner.data: winner.run for winner in comparison.winners}
        if not found:
            raise ConfigError("no run is finished")
        if data is None and len(found) > 1:
            raise ConfigError(f"the runs are on several data sets; give data={' or '.join(found)}")
        title = next(iter(found)) if data is None else data
        if title not in found:
            raise ConfigError(one_of("data set", title, found))
        return self.run(found[title])

    def __repr__(self) -> str:
        names = ", ".join(sweep.name for sweep in self.results.sweeps)
        return f"<{type(self).__name__} {names}: {len(self.results.results)} runs>"


@dataclass(frozen=True)
class LoadedRun:
    """A run: its result and its folder."""

    result: RunResult
    paths: RunPaths

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.result.name

    @property
    def config(self) -> Mapping[str, Any]:
        """The values of its configuration, by dotted key."""
        return self.result.config

    @property
    def metrics(self) -> RunMetrics | None:
        """Its ``metrics.json``; ``None`` if it has none."""
        return self.result.metrics

    @property
    def record(self) -> RunRecord | None:
        """Its ``run.json``; ``None`` if it has none."""
        return self.result.record

    @property
    def scores(self) -> pd.DataFrame:
        """The scores of its images, with the columns of ``scores.csv``."""
        from xray_hpc.report.long_tables import score_table

        return score_table([self.result])

    def model(self) -> keras.Model:
        """Load its trained model, which takes raw pixels from 0 to 255.

        Nothing in the file is executed (Keras's safe mode), and its contents are compared with the
        checksum in ``run.json``.

        Raises:
            DataError: the run is not finished, or its model is missing or damaged.
        """
        from xray_hpc.isolated_keras import isolated_keras
        from xray_hpc.models.model_card import read_card
        from xray_hpc.records.file_state import find_change

        if not self.result.finished or self.record is None:
            raise DataError(f"{self.name} is {self.result.status}; it has no trained model")
        file = self.paths.model
        if not os.path.isfile(file):
            raise DataError(f"{file} is missing; it was deleted or not copied")
        if change := find_change(str(file), self.record.files.get(file.name), whole=True):
            raise DataError(f"{file} {change}")
        with isolated_keras():
            from xray_hpc.models.load_scorer import load_trained_model

            return load_trained_model(file, read_card(file))


def load_sweep(path: str | Path | Sequence[str | Path]) -> LoadedSweep:
    """Load the runs of a sweep, or of several.

    Args:
        path: the folder ``results/<sweep>``, the name of a sweep in ``results``, or a list of them.

    Raises:
        ConfigError: there is no such sweep, or it has no runs.
        StorageError: its folder cannot be read.
    """
    paths: list[Any] = [path]
    if isinstance(path, Sequence) and not isinstance(path, str):
        paths = list(path)
    if not paths:
        raise ConfigError("load_sweep needs the folder of a sweep")
    for one in paths:
        if not isinstance(one, str | os.PathLike):
            raise ConfigError(f"load_sweep needs the folder of a sweep, not {one!r}")
    sweeps = [find_sweep(os.fspath(one), Path("results")) for one in paths]
    return LoadedSweep(load_sweeps(sweeps))
