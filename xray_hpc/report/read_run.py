"""One run folder, read with suspicion: whatever is there is kept, whatever is wrong is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xray_hpc.config.yaml_files import read_yaml
from xray_hpc.errors import DataError, UserError
from xray_hpc.metrics import MACRO, MICRO
from xray_hpc.monitoring.run_state import RunEvidence, State, state_of
from xray_hpc.records.lease_file import current_owner
from xray_hpc.records.paths import SPLITS, RunPaths
from xray_hpc.records.run_metrics import RunMetrics, read_metrics
from xray_hpc.records.run_progress import read_progress
from xray_hpc.records.run_record import RunRecord, Status, read_record
from xray_hpc.report.csv_columns import Cells, Kinds, Table, height, read_cells, typed
from xray_hpc.report.run_result import Points, RunResult

ACCURACY = {"epoch": "int64", "train_accuracy": "float64", "val_accuracy": "float64"}
LOSS = {"epoch": "int64", "train_loss": "float64", "val_loss": "float64"}
AUC = {"epoch": "int64", "val_auc": "float64"}
IMAGE = {"file": "str", "patient": "str", "y_true": "int64"}
SCORE = "y_scores"
ROC = {"fpr": "float64", "tpr": "float64", "thresholds": "float64"}


def read_run(
    paths: RunPaths, planned: Sequence[str] = (), cancelled: str | None = None
) -> RunResult:
    """Read everything a run folder holds; damage ends up in ``RunResult.error``, never in a crash.

    By the ledger: ``planned`` are the overrides, for a run that has no record; ``cancelled`` is
    when somebody cancelled it.
    """
    model = paths.name.rpartition("-")[0] or paths.name
    said = by_key(planned)
    try:
        record = read_record(paths)
        if record is None:
            what = "run.json" if paths.folder.is_dir() else "folder"
            state = state_of(RunEvidence(None, cancelled=cancelled))
            return RunResult(paths.name, model, state.value, f"there is no {what}", overrides=said)
        if record.run != paths.name:
            raise DataError(f"run.json is the record of '{record.run}'; this folder is a copy")
    except (UserError, OSError) as error:
        return RunResult(
            paths.name, model, State.DAMAGED.value, _reason(error, paths), overrides=said
        )
    return _Reader(paths, record).run(cancelled)


class _Reader:
    """Reads the files that a record promises, and collects what is wrong with them."""

    def __init__(self, paths: RunPaths, record: RunRecord) -> None:
        self.paths = paths
        self.record = record
        self.finished = record.status is Status.FINISHED
        self.absent: list[str] = []
        self.wrong: list[str] = []

    def run(self, cancelled: str | None) -> RunResult:
        paths, record = self.paths, self.record
        config = self.config()
        metrics = self.metrics()
        epochs = self.epochs(metrics)
        splits = {
            split: (self.scores(split, metrics), self.roc(split, metrics)) for split in SPLITS
        }
        roc = {split: roc for split, (_, roc) in splits.items() if roc is not None}
        curves = {split: _curve(table, metrics) for split, table in roc.items()}
        error = self.error()
        damage = error if self.finished else None
        seen = RunEvidence(record, damage, owner=current_owner(paths.lease), cancelled=cancelled)
        return RunResult(
            name=paths.name,
            model=record.model,
            status=state_of(seen).value,
            error=error,
            config=config,
            overrides=by_key(record.overrides),
            record=record,
            progress=read_progress(paths),
            metrics=metrics,
            epochs=epochs,
            scores={split: scores for split, (scores, _) in splits.items() if scores is not None},
            roc=roc,
            curves={split: curve for split, curve in curves.items() if curve is not None},
        )

    def error(self) -> str | None:
        failure = self.record.error
        said = [f"{failure.get('type')}: {failure.get('message')}"] if failure else []
        if self.absent:
            said.append(", ".join(self.absent) + (" is" if len(self.absent) == 1 else " are"))
            said[-1] += " missing"
        return one_line("; ".join(said + self.wrong)) or None

    def config(self) -> dict[str, Any]:
        if not self.paths.config.exists():
            self.absent.append(self.paths.config.name)  # every run has one from its first moment
            return {}
        try:
            return flatten(read_yaml(self.paths.config))
        except UserError as error:
            self.wrong.append(_reason(error, self.paths))
            return {}

    def metrics(self) -> RunMetrics | None:
        try:
            return read_metrics(self.paths)
        except FileNotFoundError:
            if self.finished:
                self.absent.append(self.paths.metrics.name)
        except (UserError, OSError) as error:
            self.wrong.append(_reason(error, self.paths))
        return None

    def epochs(self, metrics: RunMetrics | None) -> Table | None:
        """Accuracy, loss and validation AUC of every epoch, side by side."""
        model = self.record.model
        kinds = (
            (self.paths.accuracy(model), ACCURACY),
            (self.paths.loss(model), LOSS),
            (self.paths.auc(model), AUC),
        )
        # A measure that is no number any more is an empty cell: that training diverged.
        read = [(path, self.table(path, kind, empty_cells=True)) for path, kind in kinds]
        tables = [(path, table) for path, table in read if table is not None]
        for path, table in tables:
            if table["epoch"].tolist() != list(range(height(table))):
                self.wrong.append(f"{path.name} does not count its epochs from 0")
                return None
            if self.finished and metrics and height(table) != metrics.epochs:
                rows = f"{height(table)} rows for {metrics.epochs} epochs"
                self.wrong.append(f"{path.name} has {rows}")
                return None
        if not tables:
            return None
        # Row i is epoch i in each; while a run goes on one may be a row longer than the others.
        longest = max(height(table) for _, table in tables)
        merged: Table = {"epoch": np.arange(longest)}
        for _, table in tables:
            short = longest - height(table)
            for name, column in table.items():
                if name != "epoch":
                    merged[name] = np.append(column, [np.nan] * short) if short else column
        return merged

    def scores(self, split: str, metrics: RunMetrics | None) -> Table | None:
        """The scores of every image of ``split``."""
        classes = metrics.classes if metrics else []

        def kinds(cells: Cells) -> Kinds:
            if not classes:  # which ones there are, only the table itself can say
                names = [head for head in cells if head.startswith(f"{SCORE}_")] or [SCORE]
            else:
                names = [SCORE] if len(classes) == 2 else [f"{SCORE}_{name}" for name in classes]
            return IMAGE | dict.fromkeys(names, "float64")

        path = self.paths.scores(self.record.model, split)
        table = self.table(path, kinds)
        if table is None or not metrics:
            return table
        if (images := metrics.split(split).images) != height(table):
            self.wrong.append(f"{path.name} has {height(table)} rows for {images} images")
            return None
        labels = np.unique(table["y_true"])
        if strange := [label for label in labels if not 0 <= label < len(classes)]:
            said = f"has a y_true of {strange[0]} for {len(classes)} classes"
            self.wrong.append(f"{path.name} {said}")
            return None
        return table

    def roc(self, split: str, metrics: RunMetrics | None) -> Table | None:
        """The ROC points of ``split``; empty cells where there is one class only."""
        classes = metrics.classes if metrics else []
        several = len(classes) > 2

        def kinds(cells: Cells) -> Kinds:
            return ROC | ({"class": "str"} if several or "class" in cells else {})

        path = self.paths.roc(self.record.model, split)
        table = self.table(path, kinds, empty_cells=True)
        if table is None:
            return None
        if "class" not in table:
            name = classes[1] if classes else ""
            table["class"] = np.full(height(table), name, dtype=object)
        names = table["class"]
        ends = np.append(names[1:] != names[:-1], True)[: len(names)]
        if several and (lacking := {*classes, MICRO, MACRO} - set(names[ends])):
            self.wrong.append(f"{path.name} has no curve of {', '.join(sorted(lacking))}")
            return None
        corners = _points(table)[ends]
        if not len(corners) or not ((corners == 1) | np.isnan(corners)).all():
            self.wrong.append(f"{path.name} does not end at (1, 1)")
            return None
        return table

    def table(
        self, path: Path, kinds: Kinds | Callable[[Cells], Kinds], *, empty_cells: bool = False
    ) -> Table | None:
        try:
            cells = read_cells(path.read_bytes())
            wanted = kinds(cells) if callable(kinds) else kinds
            return typed(cells, wanted, empty_cells=empty_cells)
        except FileNotFoundError:
            if self.finished:
                self.absent.append(path.name)
        except OSError as error:
            self.wrong.append(_reason(error, self.paths))
        except ValueError as error:  # UnicodeDecodeError is one
            self.wrong.append(f"{path.name} {one_line(str(error))}")
        return None


def _points(table: Table) -> Points:
    return np.stack([table["fpr"], table["tpr"]], axis=1)


def _curve(table: Table, metrics: RunMetrics | None) -> Points | None:
    """The curve that figures show; ``None`` where the split has one class only."""
    points = _points(table)
    if metrics and len(metrics.classes) > 2:
        points = points[table["class"] == MACRO]
    return points if len(points) and np.isfinite(points).all() else None


def by_key(words: Sequence[str]) -> dict[str, str]:
    """Overrides as a mapping: ``["+seed=1", "~data"]`` is ``{"seed": "1"}``."""
    return dict(word.lstrip("+").split("=", 1) for word in words if "=" in word)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested mappings into one with dotted keys, in the same order."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def one_line(text: str) -> str:
    """Join the words of ``text`` with single spaces."""
    return " ".join(text.split())


def _reason(error: Exception, paths: RunPaths) -> str:
    if isinstance(error, OSError):
        name = Path(str(error.filename)).name if error.filename else paths.name
        return f"{name} cannot be read ({error.strerror})"
    return one_line(str(error).replace(f"{paths.folder}/", ""))
