"""Read a run folder that may be incomplete or damaged."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xray_hpc.config.yaml_files import read_yaml
from xray_hpc.errors import RecordError, UserError
from xray_hpc.metrics import MACRO, MICRO
from xray_hpc.monitoring.run_state import (
    RunEvidence,
    describe_os_error,
    read_evidence,
    state_of,
)
from xray_hpc.records.paths import SPLITS, RunPaths
from xray_hpc.records.run_metrics import RunMetrics, read_metrics
from xray_hpc.records.run_progress import read_progress
from xray_hpc.records.run_record import RunRecord, Status
from xray_hpc.regular_file import read_regular
from xray_hpc.report.run_result import Points, RunResult
from xray_hpc.report.typed_csv import Cells, Dtypes, Table, parse_csv, row_count, typed_columns

ACCURACY = {"epoch": "int64", "train_accuracy": "float64", "val_accuracy": "float64"}
LOSS = {"epoch": "int64", "train_loss": "float64", "val_loss": "float64"}
AUC = {"epoch": "int64", "val_auc": "float64"}
IMAGE = {"file": "str", "patient": "str", "y_true": "int64"}
CSV_LIMIT = 1 << 30  # a line for each of 10^7 images
SCORE, LOGIT, SCORE_OF = "y_scores", "logit", "score_of"
ROC = {"fpr": "float64", "tpr": "float64", "thresholds": "float64"}


def read_run(
    paths: RunPaths, planned: Sequence[str] = (), cancelled: int | None = None
) -> RunResult:
    """Read a run folder; problems are reported in ``RunResult.error`` instead of raised.

    The ledger's ``planned`` overrides describe a run without a record; ``cancelled`` is the
    position at which it has the run as cancelled.
    """
    evidence = read_evidence(paths, cancelled=cancelled, whole=True)
    if evidence.record is not None:
        return _RunReader(paths, evidence, evidence.record).read()
    missing = "run.json" if os.path.isdir(paths.folder) else "folder"
    return RunResult(
        name=paths.name,
        model=paths.name.rpartition("-")[0] or paths.name,
        status=state_of(evidence).value,
        error=evidence.damage or f"{missing} is missing",
        overrides=parse_overrides(planned),
    )


class _RunReader:
    """Reads the files of a run, and collects problems in ``missing`` and ``invalid``."""

    def __init__(self, paths: RunPaths, evidence: RunEvidence, record: RunRecord) -> None:
        self.paths = paths
        self.evidence = evidence
        self.record = record
        self.finished = record.status is Status.FINISHED
        self.missing: list[str] = []
        self.invalid: list[str] = []
        self.unreadable = evidence.unreadable

    def read(self) -> RunResult:
        paths, record = self.paths, self.record
        config = self.config()
        metrics = self.metrics()
        epochs = self.epochs(metrics)
        splits = [(one, self.scores(one, metrics), self.roc(one, metrics)) for one in SPLITS]
        roc = {split: points for split, _, points in splits if points is not None}
        curves = {split: _curve(table, metrics) for split, table in roc.items()}
        damage = self.damage()
        evidence = self.evidence
        if self.finished:
            # What launch and status see decides: a file of another size is damaged for them.
            unreadable = evidence.unreadable if evidence.damage else self.unreadable
            evidence = dataclasses.replace(evidence, damage=damage, unreadable=unreadable)
        problems = [record.error.explain(record.failure)] if record.error else []
        problems += [damage] if damage else []
        return RunResult(
            name=paths.name,
            model=record.model,
            status=state_of(evidence).value,
            error=one_line("; ".join(problems)) or None,
            config=config,
            overrides=parse_overrides(record.overrides),
            record=record,
            progress=read_progress(paths),
            metrics=metrics,
            epochs=epochs,
            scores={split: table for split, table, _ in splits if table is not None},
            roc=roc,
            curves={split: curve for split, curve in curves.items() if curve is not None},
        )

    def damage(self) -> str | None:
        """Return what is wrong with the files; after reading them."""
        problems = self.invalid
        if self.missing:
            verb = "is" if len(self.missing) == 1 else "are"
            problems = [f"{', '.join(self.missing)} {verb} missing", *self.invalid]
        return "; ".join(problems) or self.evidence.damage

    def refused(self, error: OSError) -> None:
        """Note that a file cannot be read; a run that is known to be damaged stays so."""
        self.unreadable = self.unreadable or self.evidence.damage is None
        self.invalid.append(describe_os_error(error, self.paths))

    def config(self) -> dict[str, Any]:
        if not os.path.lexists(self.paths.config):
            self.missing.append(self.paths.config.name)  # written when the run is created
            return {}
        try:
            return flatten(read_yaml(self.paths.config))
        except UserError as error:
            self.invalid.append(one_line(str(error).replace(f"{self.paths.folder}/", "")))
            return {}

    def metrics(self) -> RunMetrics | None:
        try:
            return read_metrics(self.paths)
        except FileNotFoundError:
            if self.finished:
                self.missing.append(self.paths.metrics.name)
        except RecordError as error:
            self.invalid.append(error.summary)
        except OSError as error:
            self.refused(error)
        return None

    def epochs(self, metrics: RunMetrics | None) -> Table | None:
        """Read accuracy, loss and validation AUC of every epoch into one table."""
        paths, model = self.paths, self.record.model
        files = (
            (paths.accuracy(model), ACCURACY),
            (paths.loss(model), LOSS),
            (paths.auc(model), AUC),
        )
        # NaN is written as an empty cell, when the training diverged.
        read = [(path, self.table(path, dtypes, empty_cells=True)) for path, dtypes in files]
        tables = [(path, table) for path, table in read if table is not None]
        for path, table in tables:
            if table["epoch"].tolist() != list(range(row_count(table))):
                self.invalid.append(f"{path.name} does not count epochs from 0")
                return None
            if self.finished and metrics and row_count(table) != metrics.epochs:
                rows = f"{row_count(table)} rows for {metrics.epochs} epochs"
                self.invalid.append(f"{path.name} has {rows}")
                return None
        if not tables:
            return None
        # While a run trains, one table may be a row ahead. The report counts epochs from 1.
        longest = max(row_count(table) for _, table in tables)
        merged: Table = {"epoch": np.arange(1, longest + 1)}
        for _, table in tables:
            padding = longest - row_count(table)
            for name, column in table.items():
                if name != "epoch":
                    merged[name] = np.append(column, [np.nan] * padding) if padding else column
        return merged

    def scores(self, split: str, metrics: RunMetrics | None) -> Table | None:
        classes = metrics.classes if metrics else []

        def dtypes(cells: Cells) -> Dtypes:
            if not classes:  # only the table itself shows its classes
                scores = [head for head in cells if head.startswith(f"{SCORE}_")] or [SCORE]
            else:
                scores = [SCORE] if len(classes) == 2 else [f"{SCORE}_{name}" for name in classes]
            logits = [name.replace(SCORE, LOGIT, 1) for name in scores]
            return IMAGE | dict.fromkeys([*scores, *logits], "float64")

        path = self.paths.scores(self.record.model, split)
        table = self.table(path, dtypes)
        if table is None or not metrics:
            return table
        if (images := metrics.split(split).images) != row_count(table):
            self.invalid.append(f"{path.name} has {row_count(table)} rows for {images} images")
            return None
        labels = np.unique(table["y_true"])
        if unknown := [label for label in labels if not 0 <= label < len(classes)]:
            problem = f"has a y_true of {unknown[0]} for {len(classes)} classes"
            self.invalid.append(f"{path.name} {problem}")
            return None
        return table

    def roc(self, split: str, metrics: RunMetrics | None) -> Table | None:
        """Read the ROC points of ``split``; a split with one class only has empty cells."""
        classes = metrics.classes if metrics else []
        several = len(classes) > 2

        def dtypes(cells: Cells) -> Dtypes:
            return ROC | ({SCORE_OF: "str"} if several or SCORE_OF in cells else {})

        path = self.paths.roc(self.record.model, split)
        table = self.table(path, dtypes, empty_cells=True)
        if table is None:
            return None
        if SCORE_OF not in table:
            name = classes[1] if classes else ""
            table[SCORE_OF] = np.full(row_count(table), name, dtype=object)
        names = table[SCORE_OF]
        ends = np.append(names[1:] != names[:-1], True)[: len(names)]
        if several and (missing := {*classes, MICRO, MACRO} - set(names[ends])):
            self.invalid.append(f"{path.name} has no curve of {', '.join(sorted(missing))}")
            return None
        corners = _points(table)[ends]
        if not len(corners) or not ((corners == 1) | np.isnan(corners)).all():
            self.invalid.append(f"{path.name} does not end at (1, 1)")
            return None
        return table

    def table(
        self, path: Path, dtypes: Dtypes | Callable[[Cells], Dtypes], *, empty_cells: bool = False
    ) -> Table | None:
        try:
            cells = parse_csv(read_regular(path, CSV_LIMIT))
            expected = dtypes(cells) if callable(dtypes) else dtypes
            return typed_columns(cells, expected, empty_cells=empty_cells)
        except FileNotFoundError:
            if self.finished:
                self.missing.append(path.name)
        except OSError as error:
            self.refused(error)
        except ValueError as error:  # includes UnicodeDecodeError
            self.invalid.append(f"{path.name} {one_line(str(error))}")
        return None


def _points(table: Table) -> Points:
    return np.stack([table["fpr"], table["tpr"]], axis=1)


def _curve(table: Table, metrics: RunMetrics | None) -> Points | None:
    """Return the curve that figures show; ``None`` for a split with one class only."""
    points = _points(table)
    if metrics and len(metrics.classes) > 2:
        points = points[table[SCORE_OF] == MACRO]
    return points if len(points) and np.isfinite(points).all() else None


def parse_overrides(overrides: Sequence[str]) -> dict[str, str]:
    """Return overrides by key: ``["+seed=1", "~data"]`` becomes ``{"seed": "1"}``."""
    return dict(text.lstrip("+").split("=", 1) for text in overrides if "=" in text)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to dotted keys, in the same order."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def one_line(text: str) -> str:
    """Collapse all whitespace to single spaces."""
    return " ".join(text.split())
